//! Reloads, with clients connected and queries running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::scene::Place;
use crate::sidecar::{Launch, PATIENCE, Shared, Sidecar, connect, eventually, shared};

/// A route of `azure` by this name.
fn route(azure: &Shared, name: &str) -> Launch {
    Sidecar::on(azure).key("name", name)
}

/// Clients that work until they are told to stop; none of them may ever see an error.
struct Workers {
    stop: Arc<AtomicBool>,
    /// Queries answered: to those that stay, and to those that come for one each.
    done: Arc<[AtomicU64; 2]>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    async fn on(proxy: &Sidecar) -> Self {
        let workers = Self {
            stop: Arc::default(),
            done: Arc::default(),
            tasks: Vec::new(),
        };
        let mut tasks = Vec::new();
        for number in 0..6 {
            let (stop, done) = (Arc::clone(&workers.stop), Arc::clone(&workers.done));
            let config = proxy.config();
            let kind = number % 2;
            let stays = match kind {
                0 => Some(proxy.client().await),
                _ => None,
            };
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let client = match &stays {
                        Some(client) => client,
                        None => &connect(&config).await.expect("it is let in"),
                    };
                    let sql = "begin; select pg_sleep(0.002); commit";
                    client.batch_execute(sql).await.expect("it is served");
                    done[kind].fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self { tasks, ..workers }
    }

    /// Some more of their queries have been answered.
    async fn go_on(&self) {
        for done in self.done.iter() {
            let goal = done.load(Ordering::Relaxed) + 15;
            eventually(async || (done.load(Ordering::Relaxed) >= goal).then_some(())).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            ended.expect("it stops").expect("it saw no error");
        }
    }
}

#[tokio::test]
async fn nobody_notices_that_limits_change() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let place = Place::new();
    let main = || route(&azure, "main").database(&database);
    let proxy = place.start(main().pool(4)).await;
    let workers = Workers::on(&proxy).await;
    workers.go_on().await;
    assert_eq!(place.reload().await, ["nothing has changed"]);
    let admin = azure.admin(&database).await;
    let logins = proxy.logins().await;
    assert!(logins <= 4.0, "{logins}");
    for (before, size) in [(4, 2), (2, 5), (5, 3), (3, 6)] {
        place.write(&[main().pool(size).toml()]);
        let expected = format!("route main: pool_size {before} -> {size} (for new clients)");
        assert_eq!(place.reload().await, [expected]);
        workers.go_on().await;
        let status = place.json(&["status"]).await;
        assert_eq!(status["routes"][0]["pool_size"], size);
        assert_eq!(status["routes"].as_array().unwrap().len(), 1);
        let metrics = proxy.metrics().await;
        assert_eq!(metrics.value("entrapool_pool_size", &[]), size as f64);
        // Old and new together, once those that are too many have come back.
        let backends = || crate::sidecar::backends(&admin, &database);
        let fits = async || (backends().await <= i64::try_from(size).unwrap() + 1).then_some(());
        eventually(fits).await;
    }
    workers.stop().await;
    let pools = place.json(&["pools"]).await;
    assert!(!pools.as_array().unwrap().is_empty());
    // The sessions have gone, and what they had with them.
    eventually(async || {
        let pools = place.json(&["pools"]).await;
        let pools = pools.as_array()?;
        pools
            .iter()
            .all(|pool| pool["retired"] == false)
            .then_some(())
    })
    .await;
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn routes_come_and_go() {
    let azure = shared().await;
    let (one, two) = (azure.new_database().await, azure.new_database().await);
    let place = Place::new();
    let main = route(&azure, "main").database(&one).toml();
    let second = || route(&azure, "second").database(&two);
    let proxy = place.start(route(&azure, "main").database(&one)).await;
    let workers = Workers::on(&proxy).await;

    place.write(&[main.clone(), second().toml()]);
    assert_eq!(place.reload().await, ["route second: added"]);
    let status = place.json(&["status"]).await;
    let address = status["routes"][1]["listen"].as_str().unwrap().to_owned();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("x").dbname(&two);
    let client = connect(&config).await.expect("the new route serves");
    let database = "select current_database()::text";
    let row = client.query_one(database, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), two);

    place.write(&[second().key("pool_mode", "session").toml(), main.clone()]);
    let expected = "route second: pool_mode auto -> session (for new clients)";
    assert_eq!(place.reload().await, [expected]);
    let status = place.json(&["status"]).await;
    assert_eq!(status["routes"][0]["listen"], *address);

    place.write(std::slice::from_ref(&main));
    let removed = "route second: removed; its sessions go on until they end";
    assert_eq!(place.reload().await, [removed]);
    eventually(async || TcpStream::connect(&address).await.is_err().then_some(())).await;
    // Its session goes on, with another backend if need be.
    client
        .batch_execute("begin; select 1; commit")
        .await
        .unwrap();
    let status = place.json(&["status"]).await;
    let gone = &status["routes"][1];
    assert_eq!(
        (&gone["name"], &gone["state"]),
        (&"second".into(), &"draining".into())
    );
    drop(client);
    eventually(async || {
        let status = place.json(&["status"]).await;
        (status["routes"].as_array()?.len() == 1).then_some(())
    })
    .await;
    workers.go_on().await;
    workers.stop().await;
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing() {
    let azure = shared().await;
    let place = Place::new();
    let good = || route(&azure, "main").pool(3);
    let launch = good().set("start.timeout", "4s");
    let proxy = place.start(launch).await;
    let client = proxy.client().await;
    client.batch_execute("select 1").await.unwrap();
    let taken = proxy.address().to_string();
    let lost = good().key("imds_endpoint", "http://127.0.0.1:1").pool(9);
    for (file, words) in [
        ("[[route]\n".to_owned(), "entrapool.toml"),
        (good().key("pool_sice", "4").toml(), "pool_size"),
        (good().key("ca_file", "/none.pem").toml(), "/none.pem"),
        (
            good().toml() + &route(&azure, "other").key("listen", &taken).toml(),
            "can't be bound",
        ),
        (lost.toml(), "no token within start.timeout"),
    ] {
        std::fs::write(place.file(), &file).unwrap();
        let said = place.ctl(&["reload"]).await;
        assert_eq!((said.code, &*said.out), (1, ""), "{file}");
        assert!(said.err.contains(words), "{words}: {}", said.err);
        let refused = "the configuration was not reloaded; nothing was changed";
        let line = proxy.log().event(refused).await;
        assert!(line.field("error").is_some());
        let status = place.json(&["status"]).await;
        assert_eq!(status["routes"][0]["pool_size"], 3);
        let metrics = proxy.metrics().await;
        assert_eq!(
            metrics.value("entrapool_pool_size", &[("route", "main")]),
            3.0
        );
        client.batch_execute("select 1").await.unwrap();
        drop(proxy.client().await);
    }
    // It was the same backend all the time.
    assert_eq!(proxy.logins().await, 1.0);
}

#[tokio::test]
async fn what_needs_a_start_is_told_and_files_are_read_again() {
    let azure = shared().await;
    let place = Place::new();
    let ca_file = place.file().with_extension("pem");
    let roots = std::fs::read_to_string(azure.ca_file()).unwrap();
    std::fs::write(&ca_file, &roots).unwrap();
    let main = || route(&azure, "main").key("ca_file", &ca_file.display().to_string());
    let proxy = place.start(main()).await;
    let client = proxy.client().await;
    let program = "workers = 2\n[log]\nformat = \"text\"\n[drain]\nmax_wait = \"7s\"\n";
    place.write(&[program.to_owned(), main().toml()]);
    // `log.format` is said by a flag, which wins.
    let expected = [
        "drain.max_wait 20s -> 7s (at once)",
        "workers 1 -> 2 (at the next start)",
    ];
    assert_eq!(place.reload().await, expected);
    assert_eq!(place.reload().await, expected[1..]);
    place.write(&[main().toml()]);
    assert_eq!(place.reload().await, ["drain.max_wait 7s -> 20s (at once)"]);

    std::fs::write(&ca_file, format!("# renewed\n{roots}")).unwrap();
    let expected = format!("route main: ca_file {} was read again", ca_file.display());
    assert_eq!(place.reload().await, [expected]);
    client.batch_execute("select 1").await.unwrap();
    proxy
        .client()
        .await
        .batch_execute("select 1")
        .await
        .unwrap();
    assert_eq!(place.reload().await, ["nothing has changed"]);

    // What the log says was changed by hand, and comes back.
    place.done(&["log-level", "warn,entrapool=info"]).await;
    let expected = "log.level warn,entrapool=info -> entrapool=debug,info (at once)";
    assert_eq!(place.reload().await, [expected]);

    place.write(&[main().pool(4).toml()]);
    let hangup = format!("kill -HUP {}", proxy.pid());
    let status = Command::new("sh").args(["-c", &hangup]).status().await;
    assert!(status.unwrap().success());
    let change = "route main: pool_size 10 -> 4 (for new clients)";
    let line = proxy
        .log()
        .find(|line| line.field("change") == Some(change))
        .await;
    assert!(line.unwrap().is("configuration"));
    assert_eq!(place.reload().await, ["nothing has changed"]);
}
