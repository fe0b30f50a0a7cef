//! Where nothing is wrong; and what the report looks like.

use std::time::Duration;

use entrapool_emulator::tds::TdsServer;

use crate::examination::{Diagnosis, Examination, STEPS, azure, both, sql_server};
use crate::sidecar::{PASSWORD, PASSWORD_ROLE, Sidecar, shared};

/// What every whole report has.
fn is_whole(diagnosis: &Diagnosis) {
    for step in STEPS {
        assert_eq!(diagnosis.outcome(step), "ok", "{:#}", diagnosis.json);
        let elapsed = diagnosis.step(step)["elapsed_ms"].as_f64().unwrap();
        assert!((0.0..10_000.0).contains(&elapsed));
        assert_eq!(diagnosis.step(step)["findings"], serde_json::json!([]));
    }
    let expires = diagnosis.fact("claims", "expires");
    assert!(
        expires.contains("Z, in ") && expires.ends_with(" s"),
        "{expires}"
    );
    assert_eq!(diagnosis.fact("claims", "object_id").len(), 36);
    assert!(diagnosis.fact("query", "round_trip").contains(" ms"));
    assert!(diagnosis.fact("tls", "root").ends_with(", from ca_file"));
    assert!(diagnosis.fact("tls", "agreed_on").starts_with("TLSv1_"));
    assert!(
        diagnosis
            .fact("resolve", "addresses")
            .contains("(this machine)")
    );
}

#[tokio::test]
async fn both_engines_with_tokens() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    for (launch, audience) in both(&azure, &server).into_iter().zip([
        "https://ossrdbms-aad.database.windows.net",
        "https://database.windows.net/",
    ]) {
        let diagnosis = Examination::on(&launch).json().await;
        is_whole(diagnosis.is_good());
        assert_eq!(diagnosis.fact("claims", "audience"), audience);
        let chosen = diagnosis.fact("identity", "chosen");
        assert_eq!(chosen, "by the configuration");
        let by_itself = Examination::on(&launch.without("identity")).json().await;
        let chosen = by_itself.is_good().fact("identity", "chosen");
        assert_eq!(chosen, "by auto: imds because imds_endpoint is given");
    }
    assert!(azure.logins().accepted() >= 4, "these were real logins");
}

#[tokio::test]
async fn a_real_postgresql_also_with_a_password() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let diagnosis = Examination::on(&launch).json().await;
    is_whole(diagnosis.is_good());
    let version = diagnosis.fact("login", "server");
    assert!(version.starts_with("PostgreSQL 1"), "{version}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let launch = launch.user(PASSWORD_ROLE).without("imds_endpoint");
    let launch = launch
        .key("identity", "password-file")
        .key("password_file", file.to_str().unwrap());
    let diagnosis = Examination::on(&launch).json().await;
    diagnosis.is_good();
    assert_eq!(diagnosis.outcome("claims"), "skipped");
}

#[tokio::test]
async fn a_server_without_tls_on_this_machine() {
    let server = TdsServer::builder()
        .database("appdb")
        .password("sa", "open-sesame");
    let server = server.start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "open-sesame").unwrap();
    let launch = Sidecar::on_plain_sql_server(&server).user("sa");
    let launch = launch.key("password_file", file.to_str().unwrap());
    let diagnosis = Examination::on(&launch).json().await;
    let tls = diagnosis.is_good().fact("tls", "tls");
    assert_eq!(tls, "off: the server is on this machine");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let azure = azure().await;
    let there = sql_server(&azure, |server| server.routed_as("localhost", None)).await;
    let port = there.addr().port();
    let gateway = sql_server(&azure, |server| server.redirect_to("localhost", port)).await;
    let launch = Sidecar::on_sql_server(&azure, &gateway);
    let diagnosis = Examination::on(&launch).json().await;
    let sent = diagnosis.is_good().fact("login", "sent_on_to");
    assert_eq!(sent, format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn lines_for_people() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let [postgres, tds] = both(&azure, &server);
    let second = tds.key("name", "second").route();
    let examination = Examination::of(&[&postgres.route(), &second]);
    let (text, exit) = examination.text().await;
    assert_eq!(exit, 0, "{text}");
    assert_eq!(text.matches("✓ ").count(), 2 * STEPS.len(), "{text}");
    assert!(text.contains("(postgres): my-vm at 127.0.0.1:"), "{text}");
    assert!(
        text.contains("route second (sqlserver): 127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.ends_with("The ways of all 2 routes are open.\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no terminal, no colours");
}

#[tokio::test]
async fn a_route_by_its_name() {
    let azure = azure().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entrapool.toml");
    let broken = Sidecar::on(&azure)
        .server("127.0.0.1:1")
        .key("name", "broken")
        .toml();
    let good = Sidecar::on(&azure).key("name", "good").toml();
    std::fs::write(&file, format!("{broken}\n{good}")).unwrap();
    let path = file.to_str().unwrap();
    let examine = |more: &[&str]| {
        let examination = Examination::of(&["--config", path]).argument("--timeout=2s");
        more.iter()
            .fold(examination, |examination, it| examination.argument(it))
            .json()
    };
    let good = examine(&["good"]).await;
    good.is_good();
    assert_eq!(good.json["routes"][0]["route"], "good");
    let all = examine(&[]).await;
    assert_eq!(all.exit, 5);
    assert_eq!(all.json["routes"][0]["failed_step"], "tcp");
    assert_eq!(
        all.json["routes"][1]["failed_step"],
        serde_json::Value::Null
    );
    let stranger = examine(&["other"]).await;
    let wanted = ("configuration", "route-unknown", "entrapool check");
    stranger.finds("a name that no route has", wanted);
    assert!(stranger.json.to_string().contains("broken, good"));
}

#[tokio::test]
async fn a_step_has_its_limit() {
    let azure = azure().await;
    azure
        .imds()
        .faults()
        .set(entrapool_emulator::faults::Fault::BlackHole);
    let launch = Sidecar::on(&azure);
    let began = std::time::Instant::now();
    let examination = Examination::of(&[&launch.route()]).argument("--timeout=500ms");
    let diagnosis = examination.json().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    diagnosis.finds(
        "IMDS reads the question and never answers",
        ("identity", "imds-unreachable", "169.254.169.254"),
    );
    // Without a token the way to the server is still examined.
    assert_eq!(diagnosis.outcome("claims"), "skipped");
    for step in ["resolve", "tcp", "tls"] {
        assert_eq!(diagnosis.outcome(step), "ok");
    }
    assert_eq!(diagnosis.outcome("login"), "skipped");
}
