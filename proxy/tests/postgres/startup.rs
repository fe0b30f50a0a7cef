//! The first packets: encryption, versions, parameters, and a greeting that takes no backend.

use crate::sidecar::raw::tags;
use crate::sidecar::{Sidecar, backends, connect, count, eventually, refusal, shared};

const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The minor version and the unknown options of a NegotiateProtocolVersion, if there is to be one.
type Negotiated = Option<(u8, &'static [&'static str])>;

const GSSENC: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

#[tokio::test]
async fn wishes_for_encryption_are_refused_in_either_order() {
    use tokio::io::AsyncReadExt;
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    for wishes in [&[SSL, GSSENC][..], &[GSSENC, SSL], &[SSL], &[]] {
        let mut raw = proxy.dial().await;
        for wish in wishes {
            raw.send(wish).await;
            assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
        }
        raw.log_in(azure.database()).await;
        assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
    }
    // A third wish is no client's.
    let mut raw = proxy.dial().await;
    for wish in [SSL, GSSENC] {
        raw.send(&wish).await;
        assert_eq!(raw.stream.read_u8().await.unwrap(), b'N');
    }
    raw.send(&SSL).await;
    assert_eq!(raw.next().await, None);
}

#[tokio::test]
async fn minor_versions_and_protocol_options_are_negotiated_once() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let user = ("user", "legacy-app");
    let database = ("database", azure.database());
    let option = ("_pq_.new_thing", "on");
    let plain: &[(&str, &str)] = &[user, database];
    let optional: &[(&str, &str)] = &[user, option, database];
    // Version asked for, parameters, and what is negotiated: minor version, unknown options.
    let cases: [(u32, _, Negotiated); 5] = [
        (0x0003_0000, plain, None),
        (0x0003_0002, plain, None),
        (0x0003_270f, plain, Some((2, &[]))),
        (0x0003_0000, optional, Some((0, &["_pq_.new_thing"]))),
        (0x0003_270f, optional, Some((2, &["_pq_.new_thing"]))),
    ];
    for (version, parameters, negotiated) in cases {
        let mut raw = proxy.dial().await;
        raw.startup(version, parameters).await;
        let greeting = raw.greeting().await;
        let negotiations = greeting.iter().filter(|message| message.tag == b'v');
        let bodies: Vec<_> = negotiations.map(|message| message.body.clone()).collect();
        let wanted = negotiated.map(|(minor, unknown)| {
            let mut body = vec![
                0,
                3,
                0,
                minor,
                0,
                0,
                0,
                u8::try_from(unknown.len()).unwrap(),
            ];
            for name in unknown {
                body.extend(name.bytes().chain([0]));
            }
            body
        });
        assert_eq!(bodies, Vec::from_iter(wanted), "{version:x} {parameters:?}");
        assert_eq!(
            greeting[0].tag,
            if negotiated.is_some() { b'v' } else { b'R' }
        );
        assert!(i32::from_be_bytes(raw.key[..4].try_into().unwrap()) > 0);
        // From 3.2 on a secret has more than 4 bytes.
        let secret = if version >= 0x0003_0002 { 32 } else { 4 };
        assert_eq!(raw.key.len(), 4 + secret);
        assert_eq!(raw.parameters["server_encoding"], "UTF8");
        assert!(raw.parameters["server_version"].starts_with("15"));
        assert_eq!(tags(&raw.query("select 1").await), "TDCZ");
    }
}

#[tokio::test]
async fn a_connect_takes_no_backend() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.transaction().pool(1).start().await;
    // One login has been seen; from now on the only backend is busy.
    let mut busy = proxy.raw().await;
    busy.query("begin").await;
    let greeted = busy.parameters.clone();
    for number in 0..50 {
        let mut idle = proxy.dial().await;
        let name = format!("app {number}");
        let parameters = [
            ("user", "x"),
            ("database", &database),
            ("application_name", &name),
        ];
        idle.startup(0x0003_0000, &parameters).await;
        idle.greeting().await;
        let mut wanted = greeted.clone();
        wanted.insert("application_name".to_owned(), name);
        assert_eq!(idle.parameters, wanted);
        idle.send(b"X\0\0\0\x04").await;
        assert_eq!(idle.next().await, None);
    }
    let admin = azure.admin("postgres").await;
    assert_eq!(backends(&admin, &database).await, 1);
    assert_eq!(proxy.logins().await, 1.0);
    assert_eq!(tags(&busy.query("commit").await), "CZ");
}

#[tokio::test]
async fn startup_parameters_hold_on_every_backend() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(2).start().await;
    let mut config = proxy.config();
    config
        .application_name("ledger")
        .options("-c extra_float_digits=1 -c TimeZone=Asia/Kolkata --work-mem=5MB -c my.own=a\\ b");
    let client = proxy.client_with(&config).await;
    let other = proxy.client().await;
    let blocker = proxy.client().await;
    let mut seen = std::collections::BTreeSet::new();
    let mut check = async || {
        let row = client.query_one(
            "select pg_backend_pid(), array[current_setting('application_name'), \
             current_setting('extra_float_digits'), current_setting('TimeZone'), \
             current_setting('work_mem'), current_setting('my.own')]",
            &[],
        );
        let row = row.await.unwrap();
        seen.insert(row.get::<_, i32>(0));
        let settings: Vec<String> = row.get(1);
        assert_eq!(settings, ["ledger", "1", "Asia/Kolkata", "5MB", "a b"]);
    };
    for _ in 0..3 {
        // The client gets the backend that the blocker leaves, then the one that it gives back.
        blocker.batch_execute("begin").await.unwrap();
        check().await;
        other.batch_execute("begin").await.unwrap();
        let own = other.query_one("show TimeZone", &[]).await.unwrap();
        assert_eq!(own.get::<_, String>(0), "UTC");
        blocker.batch_execute("commit").await.unwrap();
        check().await;
        other.batch_execute("commit").await.unwrap();
    }
    assert_eq!(seen.len(), 2, "it ran on both backends");
}

#[tokio::test]
async fn bad_parameters_are_refused_as_the_server_would() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).transaction().pool(1).start().await;
    drop(proxy.client().await);
    for (options, code) in [
        ("-c TimeZone=Atlantis", "22023"),
        ("-c work_mem=much", "22023"),
        ("-c no_such_setting=1", "42704"),
        ("-c max_connections=7", "55P02"),
        ("-x", "42601"),
    ] {
        let mut config = proxy.config();
        let refused = refusal(config.options(options)).await;
        assert_eq!(refused.code().code(), code, "{refused:?}");
        assert_eq!(refused.severity(), "FATAL");
    }
    // The backend that was asked is as good as before.
    let client = connect(&proxy.config()).await.unwrap();
    let row = client.query_one("show TimeZone", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "UTC");
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn a_greeting_is_as_new_as_the_last_login() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.pool(1).start().await;
    let mut raw = proxy.raw().await;
    assert_eq!(raw.parameters["TimeZone"], "UTC");
    let admin = azure.admin("postgres").await;
    let alter = format!("alter database {database} set timezone = 'Asia/Tokyo'");
    admin.batch_execute(&alter).await.unwrap();
    // The next login sees it, and with it whoever comes then.
    let pid = raw.query("select pg_backend_pid()").await[1].column();
    let end = format!("select pg_terminate_backend({pid})");
    admin.batch_execute(&end).await.unwrap();
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    eventually(async || (count(&admin, &gone).await == 0).then_some(())).await;
    assert_eq!(raw.query("show TimeZone").await[1].column(), "Asia/Tokyo");
    assert_eq!(proxy.logins().await, 2.0);
    let next = proxy.raw().await;
    assert_eq!(next.parameters["TimeZone"], "Asia/Tokyo");
    assert_eq!(proxy.logins().await, 2.0);
}
