//! Every reason for a lack of tokens, for `docs/errors.md`: what sources say is asked of the real
//! ones, where a question can be made to fail on one machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use url::Url;

use super::sources::Probe;
use super::stand_in::{Reply, StandIn};
use crate::identity::IdentityError;
use crate::identity::answer::{Dialect, normalised};
use crate::identity::explain::{ENTRA_CODES, Speaker, refusal};
use crate::identity::failure::{Failure, FailureClass, Lack, Streak, Unavailable};
use crate::identity::observe::Subject;
use crate::identity::refresh::{no_answer, stale};
use crate::identity::source::{AZ_CLI_HINT, PasswordFile, Proof, TokenSource};
use crate::identity::transport::Peer;
use crate::tests::told::{Told, every};

fn subject() -> Arc<Subject> {
    Arc::new(Subject {
        identity: "imds".to_owned(),
        source: "imds",
        audience: "https://ossrdbms-aad.database.windows.net",
    })
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// What a client is told whose login needs a token.
pub(crate) fn no_token() -> Unavailable {
    let streak = Streak {
        since: now() - Duration::from_secs(240),
        count: 12,
        last: unnamed_imds(400),
    };
    Unavailable::new(&subject(), Lack::NotYet, Some(streak), now())
}

fn unnamed_imds(status: u16) -> Failure {
    refusal(Speaker::Imds { named: false }, status, b"", None)
}

/// What stands between a login and a token.
pub(crate) fn lacks() -> Vec<Told> {
    let lacks = every![
        Lack::NotYet => [(Lack::NotYet, "entrapool has just started.")],
        Lack::Expired(_) => [
            (Lack::Expired(now() - Duration::from_secs(42)), "Refreshes have failed for longer than the token lived. The cause stands behind it."),
            (Lack::Expired(now() + Duration::from_secs(2)), "A login could not finish before it has expired."),
        ],
        Lack::Refused => [(Lack::Refused, "The server says the token is bad, and the source gives no other. The cause stands behind it.")],
        Lack::SameAgain => [(Lack::SameAgain, "Nearly always the role, not the token.")],
        Lack::TooSoon(_) => [(Lack::TooSoon(Duration::from_secs(20)), "The same, for the next clients: the source is not asked for each.")],
        Lack::Stopped => [(Lack::Stopped, "entrapool drains.")],
    ];
    let told = lacks.into_iter().map(|(lack, when)| {
        let error = Unavailable::new(&subject(), lack, None, now());
        Told {
            code: error.class().to_owned(),
            text: error.to_string(),
            when,
            remedy: remedy(lack).to_owned(),
        }
    });
    told.collect()
}

fn remedy(lack: Lack) -> &'static str {
    match lack {
        Lack::NotYet => {
            "Wait; listeners are not even bound before there is one, unless `start.on_failure=serve`."
        }
        Lack::Expired(_) => {
            "Mend the cause; entrapool asks again by itself, at least once a minute."
        }
        Lack::Refused => "Mend the cause, or the role: see the hint of the login.",
        Lack::SameAgain => {
            "Map the role to this identity, or choose another identity (`client_id`, `object_id`)."
        }
        Lack::TooSoon(_) => "As in the line above.",
        Lack::Stopped => "Connect again.",
    }
}

/// What a source's HTTP status means, one line for each answer that is another.
pub(crate) fn refusals() -> Vec<Told> {
    let mut answers: BTreeMap<(&str, &str, String), Vec<String>> = BTreeMap::new();
    let speakers = [
        (Speaker::Imds { named: false }, "no identity is named"),
        (Speaker::Imds { named: true }, "one is named"),
        (Speaker::AppService { named: false }, "no identity is named"),
        (Speaker::AppService { named: true }, "one is named"),
        (Speaker::Entra, ""),
    ];
    for (speaker, case) in speakers {
        for status in [302, 400, 401, 403, 404, 405, 408, 410, 418, 429, 500, 503] {
            let failure = refusal(speaker, status, b"", None);
            // Only there does it matter.
            let status = match status {
                400 if !case.is_empty() => format!("400 ({case})"),
                _ => status.to_string(),
            };
            let key = (speaker.name(), failure.class.as_str(), failure.hint.into());
            let statuses = answers.entry(key).or_default();
            if !statuses.contains(&status) {
                statuses.push(status);
            }
        }
    }
    let told = answers
        .into_iter()
        .map(|((name, class, hint), statuses)| Told {
            code: class.to_owned(),
            text: format!("{name} answered {}", statuses.join(", ")),
            when: "",
            remedy: hint,
        });
    let mut told: Vec<_> = told.collect();
    for (codes, hint) in ENTRA_CODES {
        let codes: Vec<_> = codes.iter().map(|code| format!("AADSTS{code}")).collect();
        told.push(Told {
            code: FailureClass::Rejected.as_str().to_owned(),
            text: format!("Entra answered 400, 401: {}", codes.join(", ")),
            when: "",
            remedy: hint.to_owned(),
        });
    }
    told
}

/// Everything else that keeps a source from giving a token.
pub(crate) async fn sources() -> Vec<Told> {
    let mut failures = on_the_way().await;
    failures.extend(files().await);
    failures.extend(answers());
    let said = "Please run 'az login' to setup account.";
    let az = Failure::new(FailureClass::Tool, said, AZ_CLI_HINT);
    failures.push((az, "`identity=az-cli`; the words are those of `az`."));
    failures.push((no_answer(), "The source does not come to an end."));
    let hour = Duration::from_secs(3600);
    failures.push((
        stale(hour),
        "A clock that is wrong, or a cache in front of the source.",
    ));
    let mut told: Vec<_> = failures
        .into_iter()
        .map(|(failure, when)| of(failure, when))
        .collect();
    let misconfigured = every![
        IdentityError::ImdsEndpoint(_) => [(IdentityError::ImdsEndpoint("http://10.0.0.9".to_owned()), "At the start (exit code 2).")],
        IdentityError::ResourceIdOnAppService => [(IdentityError::ResourceIdOnAppService, "At the start (exit code 2).")],
        IdentityError::Authority(_) => [(IdentityError::Authority("http://login.example.com".to_owned()), "At the start (exit code 2).")],
        IdentityError::NoPasswordFile => [(IdentityError::NoPasswordFile, "At the start (exit code 2).")],
        IdentityError::AuthorityCaFile { .. } => [(
            IdentityError::AuthorityCaFile {
                path: PathBuf::from("/etc/entrapool/roots.pem"),
                cause: "it holds no certificate".to_owned(),
            },
            "At the start (exit code 2).",
        )],
        IdentityError::Tls(_) => [(IdentityError::Tls("no process-level CryptoProvider".to_owned()), "A fault of this build; please report it.")],
    ];
    told.extend(misconfigured.into_iter().map(|(error, when)| Told {
        code: FailureClass::Misconfigured.as_str().to_owned(),
        text: error.to_string(),
        when,
        remedy: String::new(),
    }));
    told
}

fn of(failure: Failure, when: &'static str) -> Told {
    Told {
        code: failure.class.as_str().to_owned(),
        text: failure.message,
        when,
        remedy: failure.hint.into(),
    }
}

type Examples = Vec<(Failure, &'static str)>;

async fn on_the_way() -> Examples {
    let imds = Peer::Imds {
        endpoint: None,
        named: false,
    };
    let url = Url::parse("http://169.254.169.254/metadata").unwrap();
    let app = Peer::AppService { named: false };
    let plain = Url::parse("http://login.example.com/").unwrap();
    let entra = Url::parse("https://login.microsoftonline.com/").unwrap();
    let limit = Duration::from_secs(3);
    // A port that nobody listens on: the kernel gave it away and has it back.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut refused = Probe::imds(free, None).failure().await;
    refused.message = refused
        .message
        .replace(&free.to_string(), "169.254.169.254");
    vec![
        (refused, "No route, or nothing listens."),
        (
            imds.too_slow("no connection", &url, limit),
            "Not an Azure VM, or a rule that drops packets.",
        ),
        (
            Peer::Entra.too_slow("no complete answer", &entra, limit),
            "The network loses packets.",
        ),
        (
            app.target(&url).unwrap_err(),
            "`identity=app-service` outside of App Service.",
        ),
        (
            Peer::Entra.target(&plain).unwrap_err(),
            "`AZURE_AUTHORITY_HOST`.",
        ),
    ]
}

async fn files() -> Examples {
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let contents: [(Option<&[u8]>, &str); 5] = [
        (
            None,
            "It is not there, or not readable for entrapool's user.",
        ),
        (Some(b"\n"), "The file has not been written yet."),
        (Some(b"\xff\xfe"), "Another encoding, or no text."),
        (Some(b"a\0b"), "No text."),
        (Some(&[b'x'; 70_000]), "Another file."),
    ];
    for (content, when) in contents {
        let path = folder.path().join("password");
        let _ = fs::remove_file(&path);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        failures.push((password_failure(path).await, when));
    }
    let mounted = password_failure(folder.path().to_owned()).await;
    failures.push((mounted, "A directory: a mount that failed."));
    let token = folder.path().join("azure-identity-token");
    let entra = StandIn::secure(Reply::default()).await;
    let proof = Proof::Federated(token.clone());
    let mut pod = Probe::entra(&entra, proof, entra.root.clone());
    failures.push((pod.failure().await, "The webhook has not changed the pod."));
    fs::write(&token, "").unwrap();
    failures.push((pod.failure().await, "The kubelet has not written it yet."));
    let folder = folder.path().display().to_string();
    for (failure, _) in &mut failures {
        failure.message = failure.message.replace(&folder, "/run/secrets");
    }
    failures
}

async fn password_failure(path: PathBuf) -> Failure {
    let mut source = TokenSource::PasswordFile(PasswordFile::new(path));
    source.fetch().await.err().unwrap()
}

fn answers() -> Examples {
    let bodies = [
        ("<html>", "A captive portal, or another service."),
        ("{}", "Another service."),
        (r#"{"access_token":"a b"}"#, "Another service."),
        (r#"{"access_token":"abc"}"#, "Another service."),
        (
            r#"{"access_token":"abc","expires_on":"soon"}"#,
            "Another service.",
        ),
    ];
    let failures = bodies.map(|(body, when)| {
        (
            normalised(Dialect::Managed, body.as_bytes()).unwrap_err(),
            when,
        )
    });
    failures.into()
}

/// How often each file makes up a failure. Whoever adds one adds an example above, or finds that
/// one of its kind is there, and counts it here.
const MAKERS: [(&str, usize); 9] = [
    ("answer.rs", 1),
    ("explain.rs", 1),
    ("refresh.rs", 2),
    ("source.rs", 2),
    ("source/password_file.rs", 1),
    ("source/principal.rs", 2),
    ("transport.rs", 3),
    ("transport/peer.rs", 2),
    ("transport/wire.rs", 4),
];

#[test]
fn every_failure_is_counted() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/identity");
    let mut found = BTreeMap::new();
    for folder in [
        folder.clone(),
        folder.join("source"),
        folder.join("transport"),
    ] {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let count = code.matches("Failure::new(").count();
            if count > 0 && !path.ends_with("tests.rs") {
                let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/identity");
                let name = path.strip_prefix(base).unwrap().display().to_string();
                found.insert(name, count);
            }
        }
    }
    let known = MAKERS.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(found, BTreeMap::from(known));
}
