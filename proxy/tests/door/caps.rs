//! No user may have more than a share of a route's clients.

use tokio::net::TcpStream;

use crate::scene::{Scene, code};
use crate::sidecar::{Sidecar, connect, shared};
use crate::users::{as_stranger, own, text};

#[tokio::test]
async fn no_user_has_more_clients_than_its_share() {
    let azure = shared().await;
    let launch = Sidecar::on(&azure).key("max_clients_per_peer", "2");
    let proxy = launch.start().await;
    let one = proxy.client().await;
    // Who has connected and says nothing counts, too.
    let two = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.until(|metrics| metrics.clients() == 2.0).await;
    let error = proxy.refusal().await;
    assert_eq!(error.code().code(), "53300", "{error:?}");
    let wanted = format!(
        "user {} of this machine has max_clients_per_peer (2)",
        own()
    );
    assert!(error.message().contains(&wanted), "{error:?}");
    proxy
        .until(|metrics| metrics.ended("peer_limit") == 1.0)
        .await;
    if own() == 0 {
        // Another user has a share of its own.
        let target = format!("host=127.0.0.1 port={} user=x dbname=appdb", proxy.port());
        let output = as_stranger("psql", &["-XAtc", "select 7", &target]).await;
        assert_eq!(text(&output), "7\n");
    }
    drop(two);
    proxy.until(|metrics| metrics.clients() == 1.0).await;
    let three = connect(&proxy.config()).await.unwrap();
    assert!(connect(&proxy.config()).await.is_err());
    drop((one, three));
}

#[tokio::test]
async fn nor_on_tds() {
    let scene = Scene::bare(|launch| launch.key("max_clients_per_peer", "1")).await;
    let one = scene.client().await;
    let error = scene.try_client("appdb").await.err().unwrap();
    assert_eq!(code(&error), 10_928, "{error:?}");
    assert!(
        error.to_string().contains("max_clients_per_peer (1)"),
        "{error:?}"
    );
    drop(one);
    scene.proxy.until(|metrics| metrics.clients() == 0.0).await;
    drop(scene.client().await);
    assert_eq!(scene.proxy.metrics().await.ended("peer_limit"), 1.0);
}
