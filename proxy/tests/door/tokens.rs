//! Whom a token is given.

use crate::scene::Scene;

/// A gateway is trusted as far as Azure's names go, not wherever it points.
#[tokio::test]
async fn a_redirect_to_a_strange_name_gets_no_token() {
    let scene = Scene::azure_with(
        |gateway| gateway.redirect_to("db.example.com", 1433),
        |launch| launch,
    );
    let scene = scene.await;
    let error = scene.try_client("appdb").await.err().unwrap().to_string();
    assert!(error.contains("\"db.example.com\""), "{error}");
    assert!(error.contains("it got no token"), "{error}");
    assert!(error.contains("allow_any_host=true"), "{error}");
    assert!(scene.server.counters().redirects() >= 1);
    let metrics = scene.proxy.metrics().await;
    let config = [("class", "config")];
    let failures = metrics.value("entrapool_login_failures_total", &config);
    assert!(failures >= 1.0, "{}", metrics.text());
}

/// Whoever may write the configuration can still say so.
#[tokio::test]
async fn unless_any_name_is_allowed() {
    let scene = Scene::azure_with(
        |gateway| gateway.redirect_to("no-such-server.invalid", 1433),
        |launch| launch.key("allow_any_host", "true"),
    );
    let scene = scene.await;
    let error = scene.try_client("appdb").await.err().unwrap().to_string();
    assert!(error.contains("DNS"), "it went there: {error}");
}
