//! Few backends for many clients: libpq's own programs in every query mode.

use std::time::Duration;

use entrapool_emulator::LocalAzure;

use crate::sidecar::{Metrics, Sidecar, backends, count, eventually, shared};

/// Backends that libpq's programs share.
const POOL: usize = 8;
/// pgbench waits for each Prepare, and its thread's other clients with it: those may hold all
/// backends, in transactions that nobody ends.
const THREAD_EACH: &str = "-j64";

#[tokio::test]
async fn psql_without_a_password() {
    let azure = shared().await;
    let proxy = Sidecar::on(&azure).start().await;
    let said = proxy
        .program("psql", &["-XAtc", "select current_user, 40 + 2"])
        .await;
    assert_eq!(said, "my-vm|42\n");
    assert_eq!(proxy.stop().await, 0);
}

/// The largest number of backends that the server ever sees while `work` is done.
async fn most_backends<T>(
    azure: &LocalAzure,
    database: &str,
    work: impl Future<Output = T>,
) -> (T, i64) {
    let postgres = azure.real_postgres().unwrap();
    let admin = postgres.admin("postgres").await.unwrap();
    tokio::pin!(work);
    let mut most = 0;
    loop {
        most = most.max(backends(&admin, database).await);
        tokio::select! {
            done = &mut work => return (done, most),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

/// Runs pgbench and checks that every transaction was made, once.
async fn pgbench(proxy: &Sidecar, clients: usize, each: usize, more: &[&str]) {
    let (count, each_text) = (clients.to_string(), each.to_string());
    let mut arguments = vec!["-n", "-b", "simple-update", "-c", &count, "-t", &each_text];
    arguments.extend(more);
    let said = proxy.program("pgbench", &arguments).await;
    let all = clients * each;
    let wanted = format!("number of transactions actually processed: {all}/{all}\n");
    assert!(said.contains(&wanted), "{more:?}: {said}");
    assert!(said.contains("number of failed transactions: 0 "), "{said}");
}

/// The books of pgbench: what the history says, the accounts have.
async fn check_books(azure: &LocalAzure, database: &str, transactions: usize) {
    let postgres = azure.real_postgres().unwrap();
    let admin = postgres.admin(database).await.unwrap();
    let history = count(&admin, "select count(*) from pgbench_history").await;
    assert_eq!(usize::try_from(history).unwrap(), transactions);
    let difference = "select (select sum(abalance) from pgbench_accounts) \
                      - (select sum(delta) from pgbench_history)";
    assert_eq!(count(&admin, difference).await, 0);
}

#[tokio::test]
async fn sixty_four_clients_over_eight_backends() {
    sixty_four_clients("transaction").await;
}

#[tokio::test]
async fn sixty_four_clients_over_eight_backends_in_auto_mode() {
    sixty_four_clients("auto").await;
}

async fn sixty_four_clients(mode: &str) {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.key("pool_mode", mode).pool(POOL).start().await;
    proxy.program("pgbench", &["-i", "-q", "-s", "1"]).await;
    let probes = |metrics: &Metrics| metrics.value("entrapool_probes_total", &[]);
    let before = probes(&proxy.metrics().await);
    let runs: [(usize, &[&str]); 6] = [
        (20, &["-M", "simple"]),
        (20, &["-M", "extended"]),
        (20, &["-M", "prepared", THREAD_EACH]),
        (4, &["-M", "simple", "-C"]),
        (4, &["-M", "extended", "-C"]),
        (4, &["-M", "prepared", "-C", THREAD_EACH]),
    ];
    for (each, mode) in runs {
        let ((), most) = most_backends(&azure, &database, pgbench(&proxy, 64, each, mode)).await;
        assert!(usize::try_from(most).unwrap() <= POOL, "{mode:?}");
    }
    check_books(&azure, &database, 3 * 64 * (20 + 4)).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.logins(), POOL as f64, "nobody's end costs a login");
    assert!(metrics.value("entrapool_handovers_total", &[]) > 0.0);
    assert_eq!(probes(&metrics), before, "pgbench leaves nothing");
    let live: f64 = ["idle", "active", "creating", "cleaning"]
        .map(|state| metrics.backends(state))
        .iter()
        .sum();
    assert_eq!(live, POOL as f64);
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn a_backend_each_in_session_mode() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let launch = Sidecar::on(&azure).database(&database);
    let proxy = launch.pool(POOL).start().await;
    proxy.program("pgbench", &["-i", "-q", "-s", "1"]).await;
    let runs: [(usize, &[&str]); 4] = [
        (40, &["-M", "simple"]),
        (40, &["-M", "extended"]),
        (40, &["-M", "prepared"]),
        (8, &["-M", "prepared", "-C"]),
    ];
    for (each, mode) in runs {
        let ((), most) = most_backends(&azure, &database, pgbench(&proxy, POOL, each, mode)).await;
        assert!(usize::try_from(most).unwrap() <= POOL, "{mode:?}");
    }
    check_books(&azure, &database, POOL * (3 * 40 + 8)).await;
    assert_eq!(proxy.stop().await, 0);
}

#[tokio::test]
async fn databases_of_a_route_share_its_backends() {
    let azure = shared().await;
    let (one, two) = (azure.new_database().await, azure.new_database().await);
    let launch = Sidecar::on(&azure).database(&one);
    let proxy = launch.transaction().pool(1).start().await;
    for round in 0..5_i32 {
        for database in [&one, &two] {
            let mut config = proxy.config();
            let client = proxy.client_with(config.dbname(database)).await;
            let row = client
                .query_one("select current_database(), $1::int", &[&round])
                .await;
            let row = row.unwrap();
            assert_eq!(row.get::<_, String>(0), *database);
            assert_eq!(row.get::<_, i32>(1), round);
        }
    }
    let admin = azure.admin("postgres").await;
    // A process of the server ends a moment after its connection.
    let both = async || backends(&admin, &one).await + backends(&admin, &two).await;
    eventually(async || (both().await == 1).then_some(())).await;
    // Its client's task gives it back a moment after its answer.
    proxy.until(|metrics| metrics.backends("idle") == 1.0).await;
}
