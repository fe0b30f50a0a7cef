//! The page at `/`, in a real browser, with a real run behind it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_util::compat::TokioAsyncWriteCompatExt;

use crate::sidecar::{PATIENCE, Sidecar, refusal, shared};

async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Value {
    let mut text = String::new();
    let read = tokio::time::timeout(2 * PATIENCE, reader.read_line(&mut text)).await;
    read.expect("the browser says something in time").unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap().iter();
    items.map(|item| item.as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_page_shows_a_real_run() {
    let azure = shared().await;
    let server = azure.sql_server().unwrap().start().await.unwrap();
    let orders = Sidecar::on_sql_server(&azure, &server).key("name", "orders");
    let launch = Sidecar::on(&azure).key("name", "customers").pool(5);
    let proxy = launch.and(&orders).start().await;
    let other = proxy
        .log()
        .find(|line| line.is("listening") && line.field("route") == Some("orders"));
    let other = other.await.unwrap();
    // Clients of both protocols, one of which is pinned, and a login that fails.
    let pinned = proxy.client().await;
    pinned
        .batch_execute("create temp table t (a int)")
        .await
        .unwrap();
    let idle = proxy.client().await;
    idle.batch_execute("select 1").await.unwrap();
    let mut config = Config::new();
    config.database("appdb");
    config.authentication(AuthMethod::sql_server("any", "any"));
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(other.field("listen").unwrap())
        .await
        .unwrap();
    let mut sql = Client::connect(config, stream.compat_write())
        .await
        .unwrap();
    sql.simple_query("select 1")
        .await
        .unwrap()
        .into_results()
        .await
        .unwrap();
    let mut wrong = proxy.config();
    assert_eq!(
        refusal(wrong.dbname("no-such-db")).await.code().code(),
        "3D000"
    );
    proxy
        .until(|metrics| metrics.ended("startup_refused") == 1.0)
        .await;

    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("..")
        .join("page");
    std::fs::create_dir_all(&directory).unwrap();
    let url = format!("http://{}/", proxy.http());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/look.mjs");
    let mut browser = Command::new("node")
        .args([script.to_str().unwrap(), &url, directory.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js is installed");
    let mut said = BufReader::new(browser.stdout.take().unwrap());
    let seen = line(&mut said).await;

    check(&seen, &url);

    drop((pinned, idle, sql));
    proxy.stop().await;
    let mut stdin = browser.stdin.take().unwrap();
    stdin.write_all(b"gone\n").await.unwrap();
    let lost = line(&mut said).await;
    assert_eq!(lost["state"], "Not reachable");
    let note = lost["lost"].as_str().unwrap();
    assert!(
        note.contains("does not answer") && note.contains("What is shown is of"),
        "{note}"
    );
    assert!(browser.wait().await.unwrap().success());
}

/// What the browser saw: nothing wrong, nothing from elsewhere, all there is, at every size.
fn check(seen: &Value, url: &str) {
    assert_eq!(
        texts(&seen["console"]),
        [""; 0],
        "nothing goes wrong in the page"
    );
    for request in texts(&seen["requests"]) {
        let is_ours = request.starts_with(url) || request == "data:,";
        assert!(is_ours, "it asked elsewhere: {request}");
    }
    assert_eq!(seen["refreshed"], true);
    let looks = seen["looks"].as_array().unwrap();
    assert_eq!(looks.len(), 4);
    for look in looks {
        let (width, text) = (
            look["width"].as_u64().unwrap(),
            look["text"].as_str().unwrap(),
        );
        assert!(look["scrollWidth"].as_u64().unwrap() <= width, "{look}");
        assert_eq!(texts(&look["cut"]), [""; 0], "at {width}");
        for wanted in [
            "Running",
            "customers",
            "orders",
            "PostgreSQL",
            "SQL Server",
            "2 of 10,000",
            "of 5",
            "Valid",
            "Temporary table",
            "Startup refused",
            "no-such-db",
            "appdb",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} at {width} in\n{text}");
        }
        assert!(
            !text.contains("undefined") && !text.contains("NaN"),
            "{text}"
        );
        assert!(
            !text.contains("legacy-app"),
            "nothing of single clients: {text}"
        );
        assert_eq!(texts(&look["tables"]).len(), 5);
    }
    assert_ne!(
        looks[0]["background"], looks[1]["background"],
        "light and dark"
    );
}
