//! Clients of TDS 7.1 and 7.2, which are translated: jTDS and FreeTDS. The same programs run
//! straight on the server, which speaks these versions itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::scene::{Scene, run};
use crate::sidecar::{Launch, Log};

/// The slowest program takes a third of this.
const LONGEST: Duration = Duration::from_secs(60);
/// Where Debian puts jTDS.
const JTDS_JAR: &str = "/usr/share/java/jtds.jar";

/// Where a program connects to, and as whom.
struct Place {
    address: SocketAddr,
    user: &'static str,
    password: &'static str,
    crowd: usize,
    log: Log,
}

impl Place {
    fn of(scene: &Scene) -> Self {
        Self {
            address: scene.proxy.address(),
            user: "legacy-app",
            password: "whatever",
            crowd: 8,
            log: scene.proxy.log().clone(),
        }
    }

    fn server_of(scene: &Scene) -> Self {
        Self {
            address: scene.server.addr(),
            user: "sa",
            password: "open-sesame",
            crowd: 8,
            log: scene.proxy.log().clone(),
        }
    }
}

async fn output(mut command: Command, place: &Place, input: &str) -> Output {
    command
        .env("TDS_HOST", place.address.ip().to_string())
        .env("TDS_PORT", place.address.port().to_string())
        .env("TDS_DATABASE", "appdb")
        .env("TDS_USER", place.user)
        .env("TDS_PASSWORD", place.password)
        .env("TDS_CROWD", place.crowd.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; `cargo xtask drivers` installs what it needs")
    });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let mut said = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    let talking = async { while stdout.read_buf(&mut said).await.unwrap() > 0 {} };
    let ended = tokio::time::timeout(LONGEST, talking).await;
    if ended.is_err() {
        let said = String::from_utf8_lossy(&said);
        panic!(
            "{command:?} takes more than {LONGEST:?}; so far:\n{said}\nthe sidecar said:\n{}",
            place.log.text()
        );
    }
    let mut output = child.wait_with_output().await.unwrap();
    output.stdout = said;
    output
}

async fn jtds(scene: &Scene, place: &Place) {
    assert!(
        Path::new(JTDS_JAR).is_file(),
        "{JTDS_JAR} is missing; `cargo xtask drivers` installs it"
    );
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/tds/JtdsClient.java");
    let mut command = Command::new("java");
    command.arg("--class-path").arg(JTDS_JAR).arg(program);
    let output = output(command, place, "").await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.lines().last() == Some("OK"),
        "{}\n{said}{}\nthe sidecar said:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        scene.proxy.log().text()
    );
    assert_eq!(scene.server.counters().size_violations(), 0);
    assert_eq!(scene.server.counters().protocol_violations(), 0);
}

async fn azure(mode: &str) -> Scene {
    Scene::azure(|launch: Launch| launch.pool(2).key("pool_mode", mode)).await
}

#[tokio::test]
async fn jtds_straight() {
    let scene = Scene::bare(|launch| launch).await;
    jtds(&scene, &Place::server_of(&scene)).await;
}

#[tokio::test]
async fn jtds_auto() {
    let scene = azure("auto").await;
    jtds(&scene, &Place::of(&scene)).await;
    assert!(scene.server.counters().logins() <= 2);
}

#[tokio::test]
async fn jtds_on_a_server_that_tells_little() {
    let scene = Scene::bare(|launch| launch.pool(2)).await;
    jtds(&scene, &Place::of(&scene)).await;
    assert!(scene.server.counters().logins() <= 2);
}

#[tokio::test]
#[ignore = "every pool mode: only in a full test"]
async fn jtds_transaction() {
    let scene = azure("transaction").await;
    jtds(&scene, &Place::of(&scene)).await;
    assert!(scene.server.counters().logins() <= 2);
}

#[tokio::test]
#[ignore = "every pool mode: only in a full test"]
async fn jtds_session() {
    let scene = azure("session").await;
    let place = Place {
        crowd: 2,
        ..Place::of(&scene)
    };
    jtds(&scene, &place).await;
}

/// What tsql prints, without what differs from run to run.
async fn tsql(place: &Place, version: &str, sql: &str) -> String {
    let mut command = Command::new("tsql");
    command
        .env("TDSVER", version)
        .args(["-H", &place.address.ip().to_string()])
        .args(["-p", &place.address.port().to_string()])
        .args(["-D", "appdb", "-U", place.user, "-P", place.password]);
    let output = output(command, place, sql).await;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().map(|line| format!("{line}\n")).collect()
}

const TSQL: &str = "\
create table ts (n int, v varchar(max), x nvarchar(max), b varbinary(max), d date, t time(3), \
m datetime2, o datetimeoffset, s varchar(10))
go
insert into ts values (1, 'v', N'ü', 0x0102, '2024-02-29', '01:02:03.004', \
'2024-02-29 01:02:03.0000001', '2024-02-29 01:02:03.0000001 -03:30', null)
insert into ts (n) values (2)
go
select * from ts order by n
go
select n, replicate(convert(varchar(max), 'x'), 20) as long from ts
go
begin transaction
update ts set n = n + 10
select @@trancount
go
select n from ts order by n
rollback
go
select n from ts order by n
select * from nowhere
go
print 'hello'
go
drop table ts
go
exit
";

#[tokio::test]
async fn tsql_prints_the_same_as_on_the_server() {
    let scene = Scene::bare(|launch| launch.pool(1)).await;
    for version in ["7.1", "7.2", "7.3", "7.4"] {
        let straight = tsql(&Place::server_of(&scene), version, TSQL).await;
        let through = tsql(&Place::of(&scene), version, TSQL).await;
        assert!(straight.contains("1\tv\tü\t0102\t"), "{straight}");
        assert_eq!(through, straight, "TDS {version}");
    }
    assert_eq!(scene.server.counters().protocol_violations(), 0);
}

/// FreeTDS loads data in bulk.
async fn bulk_load(place: &Place, version: &str, table: &str, file: &Path) -> String {
    let mut command = Command::new("freebcp");
    command
        .env("TDSVER", version)
        .arg(format!("appdb..{table}"))
        .arg("in")
        .arg(file)
        .args(["-c", "-t", "|", "-b", "100", "-S"])
        .arg(format!("{}:{}", place.address.ip(), place.address.port()))
        .args(["-U", place.user, "-P", place.password]);
    let output = output(command, place, "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[tokio::test]
async fn data_is_loaded_in_bulk() {
    let scene = Scene::bare(|launch| launch.pool(1)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows");
    let line = |n: usize| format!("{n}|row {n}.{}\n", "x".repeat(n));
    std::fs::write(&file, (0..300).map(line).collect::<String>()).unwrap();
    let mut client = scene.client().await;
    for (version, place) in [
        ("7.1", Place::server_of(&scene)),
        ("7.1", Place::of(&scene)),
        ("7.2", Place::of(&scene)),
    ] {
        run(&mut client, "create table loaded (n int, s varchar(400))").await;
        let said = bulk_load(&place, version, "loaded", &file).await;
        assert!(said.contains("300 rows copied"), "{version}: {said}");
        let sums = "select convert(varchar(20), sum(n)) + ' ' + convert(varchar(20), sum(len(s))) \
                    from loaded";
        let lengths: usize = (0..300)
            .map(|n| line(n).len() - format!("{n}|\n").len())
            .sum();
        assert_eq!(
            run(&mut client, sums).await,
            Some(format!("{} {lengths}", 299 * 150))
        );
        run(&mut client, "drop table loaded").await;
    }
    assert_eq!(scene.server.counters().protocol_violations(), 0);
    assert_eq!(scene.server.counters().size_violations(), 0);
}

#[tokio::test]
async fn clients_of_several_versions_share_a_backend() {
    let scene = Scene::azure(|launch| launch.pool(1)).await;
    let place = Place::of(&scene);
    let sql =
        "create table shared (d date)\ngo\ninsert into shared values ('2024-02-29')\ngo\nexit\n";
    tsql(&place, "7.3", sql).await;
    for version in ["7.1", "7.2", "7.3"] {
        let said = tsql(&place, version, "select d from shared\ngo\nexit\n").await;
        assert!(said.contains("2024"), "{version}: {said}");
    }
    assert_eq!(scene.server.counters().logins(), 1);
}

#[tokio::test]
async fn seven_zero_is_told_that_it_is_too_old() {
    let scene = Scene::bare(|launch| launch).await;
    let said = tsql(&Place::of(&scene), "7.0", "exit\n").await;
    assert!(
        said.contains("17832") && said.contains("0x70000000"),
        "{said}"
    );
}
