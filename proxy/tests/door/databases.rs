//! A route serves the databases that it lists, and no others.

use crate::scene::{Scene, code, run};
use crate::sidecar::{Sidecar, connect, refusal, shared};

#[tokio::test]
async fn postgresql_s_clients_may_name_listed_databases_only() {
    let azure = shared().await;
    let listed = azure.new_database().await;
    let launch = Sidecar::on(&azure).key("databases", &format!("appdb,{listed}"));
    let proxy = launch.start().await;
    let mut config = proxy.config();
    for database in ["appdb", &listed] {
        let client = connect(config.dbname(database)).await.unwrap();
        let row = client.query_one("select current_database()", &[]).await;
        assert_eq!(row.unwrap().get::<_, String>(0), database);
    }
    for database in ["postgres", "template1", "APPDB", "appdb ", "no-such"] {
        let error = refusal(config.dbname(database)).await;
        assert_eq!(error.code().code(), "3D000", "{database}: {error:?}");
        assert!(error.message().contains("is not served by this route"));
    }
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.ended("startup_refused"), 5.0);
    assert_eq!(
        metrics.logins(),
        2.0,
        "nobody asked the server for the others"
    );
}

#[tokio::test]
async fn nor_may_those_of_sql_server() {
    let scene = Scene::bare(|launch| launch.key("databases", "appdb")).await;
    for database in ["appdb", "AppDB", ""] {
        let mut client = scene.client_of(database).await;
        let said = run(&mut client, "select db_name()").await;
        assert!(said.unwrap().eq_ignore_ascii_case("appdb"));
    }
    for database in ["otherdb", "master", "no-such"] {
        let error = scene.try_client(database).await.err().unwrap();
        assert_eq!(code(&error), 4060, "{database}: {error:?}");
        assert!(
            error.to_string().contains("databases= allows appdb"),
            "{error:?}"
        );
    }
    let metrics = scene.proxy.metrics().await;
    assert_eq!(metrics.ended("startup_refused"), 3.0);
}
