//! What `check` prints reads back as the same configuration, and shows every key.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::option;
use proptest::prelude::*;

use super::{PLAIN, try_load};
use crate::config::{
    Admission, CertificateFiles, ClientSecret, ClientTls, Cloud, Config, ConsoleAccess, Control,
    Dialect, Drain, HostPort, IdentitySpec, IoUring, Listen, Log, LogFormat, MapEnvironment,
    OnStartFailure, PinOnExec, PoolLimits, PoolMode, PostgresOptions, Route, Selector, Source,
    Start, TdsOptions, TlsMode, Upstream, Workload, keys, render,
};

/// Everything that any source may want, so that each can be written.
fn env() -> MapEnvironment {
    MapEnvironment::default()
        .with("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token")
        .with("AZURE_TENANT_ID", "tenant")
        .with("AZURE_CLIENT_SECRET", "hunter2")
        .with("AZURE_AUTHORITY_HOST", "https://login.example.com")
        .with("IDENTITY_ENDPOINT", "http://127.0.0.1:41")
        .with("IDENTITY_HEADER", "header")
}

fn read_back(config: &Config) -> Result<Config, String> {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("rendered.toml");
    std::fs::write(&path, render(config)).unwrap();
    try_load(&["--config", path.to_str().unwrap()], &env())
        .map(|loaded| loaded.config)
        .map_err(|errors| errors.to_string())
}

proptest! {
    #[test]
    fn rendered_configurations_read_back(config in configs()) {
        prop_assert_eq!(read_back(&config), Ok(config));
    }
}

#[test]
fn every_key_is_shown_and_no_secret() {
    for url in [PLAIN, "sqlserver://localhost/db"] {
        let config = super::config(&[url]);
        let engine = config.routes[0].engine();
        let text = render(&config);
        for key in keys::PROGRAM.iter().chain(keys::ROUTE) {
            let name = key.name().rsplit('.').next().unwrap();
            // Fields stand for the url; the file does not name itself.
            let expected = !["url", "config"].contains(&name)
                && keys::only_for(*key).is_none_or(|only| only == engine);
            let shown = text.lines().any(|line| {
                line.starts_with(&format!("{name} = "))
                    || line.starts_with(&format!("# {} is not set: ", key.name()))
            });
            assert_eq!(shown, expected, "{name}\n{text}");
        }
    }
    let secret = format!("{PLAIN}?identity=secret&client_id=x");
    let text = render(&try_load(&[&secret], &env()).unwrap().config);
    assert!(
        text.contains("identity = \"secret\"\nclient_id = \"x\"\n"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

fn configs() -> impl Strategy<Value = Config> {
    let program = (
        1..=256_usize,
        any::<bool>(),
        "(info|warn,entrapool=debug)",
        any::<bool>(),
        option::of("/[a-z]{1,8}\\.pem"),
    );
    let times = (
        millis(0, 3_600_000),
        millis(0, 86_400_000),
        millis(1_000, 3_600_000),
    );
    let control = prop_oneof![
        Just(Control::default()),
        Just(Control {
            listen: Some(Listen::Tcp("127.0.0.1:9465".parse().unwrap())),
            group: None,
        }),
        ("/[a-z \"'\\\\é]{1,9}x", option::of(texts())).prop_map(|(path, group)| Control {
            listen: Some(Listen::Unix(path.into())),
            group,
        }),
    ];
    let console = option::of(texts()).prop_map(|group| ConsoleAccess { group });
    let program = (program, control, console);
    let routes = proptest::collection::vec(routes(), 1..4);
    (program, times, routes).prop_map(|(program, times, mut routes)| {
        let ((workers, json, level, serve, authority), control, console) = program;
        for (index, route) in routes.iter_mut().enumerate() {
            make_distinct(index, route);
        }
        Config {
            http: SocketAddr::from(([0, 0, 0, 0], 9464)),
            workers,
            io_uring: match workers % 2 {
                0 => IoUring::Auto,
                _ => IoUring::Off,
            },
            authority_ca_file: authority.map(Into::into),
            log: Log {
                format: if json {
                    LogFormat::Json
                } else {
                    LogFormat::Text
                },
                level,
            },
            drain: Drain {
                accept_for: times.0,
                max_wait: times.1,
            },
            start: Start {
                timeout: times.2,
                on_failure: if serve {
                    OnStartFailure::Serve
                } else {
                    OnStartFailure::Exit
                },
            },
            control,
            console,
            routes,
        }
    })
}

fn make_distinct(index: usize, route: &mut Route) {
    route.name = format!("{}{index}", route.name);
    route.listen = match &route.listen {
        Listen::Tcp(address) => {
            let port = 5000 + u16::try_from(index).unwrap();
            Listen::Tcp(SocketAddr::new(address.ip(), port))
        }
        Listen::Unix(path) => Listen::Unix(path.join(format!("{index}/.s.PGSQL.6432"))),
    };
}

fn routes() -> impl Strategy<Value = Route> {
    let listen = prop_oneof![
        Just(Listen::Tcp("127.0.0.1:1".parse().unwrap())),
        Just(Listen::Tcp("[::1]:1".parse().unwrap())),
        "/[a-zA-Z \"'\\\\é]{1,9}".prop_map(|path| Listen::Unix(path.into())),
    ];
    let databases = option::of((texts(), texts()).prop_map(|(one, two)| vec![one, two]));
    let start = (texts(), listen, databases, admissions());
    let dialect = (any::<bool>(), postgres(), tds());
    (start, dialect, upstreams(), identities(), pools()).prop_map(
        |(
            (name, listen, databases, admission),
            (is_tds, postgres, tds),
            upstream,
            identity,
            pool,
        )| {
            let first = databases.as_ref().map(|names| names[0].clone());
            let (listen, dialect) = if is_tds {
                let listen = match listen {
                    Listen::Unix(_) => Listen::Tcp("127.0.0.1:1".parse().unwrap()),
                    tcp @ Listen::Tcp(_) => tcp,
                };
                let by_password = identity.source == Source::PasswordFile;
                let options = TdsOptions {
                    user: tds.user.or_else(|| by_password.then(|| "sa".to_owned())),
                    database: first.unwrap_or(tds.database),
                    ..tds
                };
                (listen, Dialect::Tds(options))
            } else {
                let database = match &databases {
                    Some(names) => postgres.database.map(|_| names[1].clone()),
                    None => postgres.database,
                };
                (
                    listen,
                    Dialect::Postgres(PostgresOptions {
                        database,
                        ..postgres
                    }),
                )
            };
            Route {
                name,
                dialect,
                listen,
                upstream,
                admission,
                databases,
                identity,
                pool,
            }
        },
    )
}

fn admissions() -> impl Strategy<Value = Admission> {
    let uids = proptest::collection::btree_set(0..u32::MAX, 1..4);
    let uids = option::of(uids.prop_map(|uids| uids.into_iter().collect()));
    let per_peer = option::of(1..=1_000_000_usize);
    (uids, per_peer).prop_map(|(uids, per_peer)| Admission { uids, per_peer })
}

fn postgres() -> impl Strategy<Value = PostgresOptions> {
    (texts(), option::of(texts())).prop_map(|(user, database)| PostgresOptions { user, database })
}

fn tds() -> impl Strategy<Value = TdsOptions> {
    let client_tls = prop_oneof![
        Just((ClientTls::Off, None)),
        Just((ClientTls::Auto, None)),
        (texts(), texts()).prop_map(|(certificate, key)| {
            let files = CertificateFiles {
                certificate: certificate.into(),
                key: key.into(),
            };
            (ClientTls::Require, Some(files))
        }),
    ];
    let pin_on_exec = prop_oneof![Just(PinOnExec::Never), Just(PinOnExec::Always)];
    let names = (option::of(texts()), texts());
    let rest = (512..=32_767_u16, millis(0, 3_600_000), any::<bool>());
    (names, client_tls, rest, pin_on_exec).prop_map(
        |((user, database), (client_tls, client_certificate), rest, pin_on_exec)| TdsOptions {
            user,
            database,
            client_tls,
            client_certificate,
            packet_size: rest.0,
            min_token_remainder: rest.1,
            trust_session_state: rest.2,
            pin_on_exec,
        },
    )
}

fn upstreams() -> impl Strategy<Value = Upstream> {
    let hosts = || {
        prop_oneof![
            "[a-z][a-z0-9-]{0,9}\\.example\\.com",
            Just("fd00::7".to_owned())
        ]
    };
    let target = (hosts(), 1..=65535_u16).prop_map(|(host, port)| HostPort { host, port });
    (
        hosts(),
        1..=65535_u16,
        option::of(target),
        option::of(hosts()),
        prop_oneof![Just(TlsMode::Negotiate), Just(TlsMode::Direct)],
        option::of(texts()),
        millis(1_000, 300_000),
    )
        .prop_map(
            |(host, port, connect_to, server_name, tls, ca_file, connect_timeout)| Upstream {
                host,
                port,
                connect_to,
                server_name,
                allow_any_host: true,
                tls,
                ca_file: ca_file.map(Into::into),
                connect_timeout,
            },
        )
}

fn identities() -> impl Strategy<Value = IdentitySpec> {
    let selectors = prop_oneof![
        texts().prop_map(Selector::ClientId),
        texts().prop_map(Selector::ObjectId),
        texts().prop_map(Selector::ResourceId),
    ];
    let authority = || Some("https://login.example.com".to_owned());
    let workload = texts().prop_map(move |client_id| {
        Source::Workload(Workload {
            tenant_id: "tenant".to_owned(),
            client_id,
            token_file: "/var/run/token".into(),
            authority: authority(),
        })
    });
    let secret = texts().prop_map(move |client_id| {
        Source::Secret(ClientSecret {
            tenant_id: "tenant".to_owned(),
            client_id,
            secret: "hunter2".to_owned(),
            authority: authority(),
        })
    });
    let sources = prop_oneof![
        Just(Source::Imds),
        Just(Source::AppService),
        Just(Source::AzCli),
        Just(Source::PasswordFile),
        workload,
        secret,
    ];
    let clouds = prop_oneof![Just(Cloud::Public), Just(Cloud::UsGov), Just(Cloud::China)];
    (
        sources,
        option::of(selectors),
        clouds,
        texts(),
        any::<bool>(),
    )
        .prop_map(|(source, selector, cloud, file, endpoint)| {
            let selector = selector.filter(|selector| match source {
                Source::Imds => true,
                Source::AppService => !matches!(selector, Selector::ResourceId(_)),
                _ => false,
            });
            let imds_endpoint =
                (source == Source::Imds && endpoint).then(|| "http://127.0.0.1:8080".to_owned());
            let password_file = (source == Source::PasswordFile).then(|| file.into());
            IdentitySpec {
                source,
                selector,
                imds_endpoint,
                cloud,
                password_file,
            }
        })
}

fn pools() -> impl Strategy<Value = PoolLimits> {
    let sizes = (1..=10_000_usize).prop_flat_map(|size| (Just(size), 0..=size));
    (
        prop_oneof![
            Just(PoolMode::Auto),
            Just(PoolMode::Strict),
            Just(PoolMode::Session),
            Just(PoolMode::Transaction)
        ],
        sizes,
        1..=1_000_000_usize,
        millis(100, 3_600_000),
        millis(1_000, 86_400_000),
        millis(1_000, 604_800_000),
    )
        .prop_map(
            |(mode, (size, min_idle), max_clients, wait_timeout, idle_timeout, max_lifetime)| {
                PoolLimits {
                    mode,
                    size,
                    min_idle,
                    max_clients,
                    wait_timeout,
                    idle_timeout,
                    max_lifetime,
                }
            },
        )
}

fn millis(min: u64, max: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![
        (min..=max).prop_map(Duration::from_millis),
        (min.div_ceil(1_000)..=max / 1_000).prop_map(Duration::from_secs),
    ]
}

/// With everything that has a meaning in TOML or in a URL.
fn texts() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 \"'\\\\#=,.%\\[\\]{}@/é日]{1,20}"
}
