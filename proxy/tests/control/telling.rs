//! What it tells of itself: routes, pools, clients, servers, tokens.

use crate::scene::Place;
use crate::sidecar::{Sidecar, shared};

#[tokio::test]
async fn everything_that_goes_on_is_shown() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let place = Place::new();
    let launch = Sidecar::on(&azure).database(&database).pool(3);
    let proxy = place.operated(launch.key("name", "main")).start().await;

    let mut config = proxy.config();
    let pinned = proxy.client_with(config.application_name("reports")).await;
    let temporary = "create temp table t(n int)";
    pinned.batch_execute(temporary).await.unwrap();
    let idle = proxy.client_with(config.application_name("web")).await;
    idle.batch_execute("select 1").await.unwrap();
    let mut inside = proxy.raw().await;
    inside.query("begin").await;

    let status = place.json(&["status"]).await;
    assert_eq!(status["process"]["draining"], false);
    let route = &status["routes"][0];
    assert_eq!(
        (&route["name"], &route["state"]),
        (&"main".into(), &"running".into())
    );
    assert_eq!(route["listen"], proxy.address().to_string());
    assert_eq!(
        (&route["pool_size"], &route["clients"]),
        (&3.into(), &3.into())
    );
    assert_eq!(route["pins"][0]["reason"], "temp_table");

    let clients = place.json(&["clients"]).await;
    let by_name = |name: &str| {
        let clients = clients.as_array().unwrap();
        let found = clients.iter().find(|it| it["application_name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {clients:?}"))
    };
    let (reports, web) = (by_name("reports"), by_name("web"));
    assert_eq!(
        (&reports["state"], &reports["pins"][0]),
        (&"active".into(), &"temp_table".into())
    );
    assert_eq!(
        (&web["state"], web["pins"].as_array().unwrap().len()),
        (&"idle".into(), 0)
    );
    assert_eq!(web["database"], *database);
    let raw = clients.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&raw["number"], &raw["state"]),
        (&3.into(), &"active".into())
    );

    let servers = place.json(&["servers"]).await;
    let servers = servers.as_array().unwrap();
    let holds = |number: &serde_json::Value| servers.iter().find(|it| it["client"] == *number);
    let held = holds(&reports["number"]).expect("the pinned client has a backend");
    let sql = "select pg_backend_pid()";
    let pid: i32 = pinned.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(
        (&held["server_pid"], &held["state"]),
        (&pid.into(), &"active".into())
    );
    assert_eq!(held["address"], azure.postgres_addr().to_string());
    assert_eq!(held["token_generation"], 1);
    assert!(holds(&raw["number"]).is_some() && holds(&web["number"]).is_none());

    let pools = place.json(&["pools"]).await;
    let pool = &pools[0];
    assert_eq!(
        (&pool["database"], &pool["active"]),
        (&database.as_str().into(), &2.into())
    );
    assert_eq!(
        (&pool["waiting"], &pool["oldest_wait"]),
        (&0.into(), &serde_json::Value::Null)
    );

    let tokens = place.json(&["tokens"]).await;
    assert_eq!(
        (&tokens[0]["usable"], &tokens[0]["routes"][0]),
        (&true.into(), &"main".into())
    );
    assert!(tokens[0]["expires_in"].as_f64().unwrap() > 0.0);
    for command in ["status", "clients", "servers", "pools", "tokens"] {
        let table = place.done(&[command]).await;
        assert!(table.contains("main"), "{table}");
        let json = place.done(&[command, "--json"]).await;
        assert!(
            !json.contains("eyJ") && !table.contains("eyJ"),
            "a token: {json}"
        );
    }
}

#[tokio::test]
async fn who_waits_and_what_went_wrong() {
    let azure = shared().await;
    let place = Place::new();
    let launch = Sidecar::on(&azure).transaction().pool(1);
    let launch = launch.key("wait_timeout", "1500ms");
    let proxy = place.operated(launch).start().await;
    let waiting = proxy.client().await;
    let mut inside = proxy.raw().await;
    inside.query("begin").await;
    let query = tokio::spawn(async move { waiting.batch_execute("select 1").await });
    proxy
        .until(|metrics| metrics.value("entrapool_clients_waiting", &[]) == 1.0)
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pools = place.json(&["pools"]).await;
    assert_eq!(pools[0]["waiting"], 1);
    let waited = pools[0]["oldest_wait"].as_f64().unwrap();
    assert!((0.2..1.5).contains(&waited), "{waited}");
    let clients = place.json(&["clients"]).await;
    assert_eq!(clients[0]["state"], "waiting");
    assert!(query.await.unwrap().is_err());
    let status = place.json(&["status"]).await;
    let error = &status["errors"][0];
    assert_eq!(
        (&error["cause"], &error["blame"]),
        (&"wait_timeout".into(), &"proxy".into())
    );
    assert_eq!(
        (&error["times"], &error["session"]),
        (&1.into(), &clients[0]["pid"])
    );
    let table = place.done(&["status"]).await;
    assert!(table.contains("wait_timeout"), "{table}");
}
