//! The life of a pod with the sidecar, from the manifests in `deploy/kubernetes`: who starts before
//! whom, a Job that finishes, a drain that still accepts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entrapool_emulator::directory::Principal;
use entrapool_emulator::kubernetes;
use entrapool_emulator::probe::Probe;
use entrapool_emulator::{LocalAzure, ServerChoice};
use serde_json::Value;
use tokio_postgres::Client;

use super::chart::{plain, the};
use super::pod::{Cluster, Pod, TOKEN_FILE};

/// The names in the manifests.
const ROLE: &str = "my-app";
const DATABASE: &str = "mydb";
const SERVER: &str = "myserver.postgres.database.azure.com";
/// Where the sidecar finds the authority of the local Azure.
const AUTHORITY: &str = "/etc/ssl/authority.pem";
/// How long anything may take that is not waited for in the manifest's terms.
const PATIENCE: Duration = Duration::from_secs(20);

/// An Azure for the manifests, and what it takes to play the cluster.
struct World {
    azure: LocalAzure,
    objects: Vec<Value>,
}

impl World {
    async fn new() -> Self {
        let azure = LocalAzure::builder()
            .server(ServerChoice::Real)
            .role(ROLE)
            .database(DATABASE);
        let azure = azure.start().await.expect("the local Azure starts");
        let mut objects = plain("deployment.yaml");
        objects.extend(plain("job.yaml"));
        Self { azure, objects }
    }

    /// The pod of the object of this kind, in a cluster of its own. Entra trusts the newest one.
    fn pod(&self, kind: &str) -> Pod {
        let cluster = kubernetes::Cluster::new().expect("a cluster");
        let principal = Principal::named(ROLE);
        let account = the(&self.objects, "ServiceAccount");
        let account = account["metadata"]["name"].as_str().expect("a name");
        let life = Duration::from_secs(3600);
        let token = cluster.service_account_token("default", account, life);
        let entra = self.azure.entra();
        entra.register_federated(principal.clone(), &cluster, "default", account);
        let injected = [
            ("AZURE_CLIENT_ID", principal.client_id),
            (
                "AZURE_TENANT_ID",
                self.azure.issuer().directory().tenant_id().to_owned(),
            ),
            ("AZURE_AUTHORITY_HOST", entra.authority()),
            ("AZURE_FEDERATED_TOKEN_FILE", TOKEN_FILE.to_owned()),
        ];
        let injected = injected.map(|(name, value)| (name.to_owned(), value));
        let hosts = format!("127.0.0.1 localhost {SERVER}\n");
        let authority = std::fs::read(self.azure.ca_file()).expect("a certificate");
        let cluster = Cluster {
            program: format!("authority_ca_file = \"{AUTHORITY}\""),
            // The server's name is looked up in the empty root; only its port and its certificate
            // are the local Azure's.
            route: format!(
                "connect_to = \"{SERVER}:{}\"\nserver_name = \"localhost\"\nallow_any_host = true\nca_file = \"{AUTHORITY}\"",
                self.azure.postgres_addr().port()
            ),
            injected: BTreeMap::from(injected),
            token: token.expect("a token").into_bytes(),
            files: BTreeMap::from([(AUTHORITY, authority), ("/etc/hosts", hosts.into_bytes())]),
        };
        let object = the(&self.objects, kind);
        Pod::new(&object["spec"]["template"], &self.objects, cluster)
    }

    async fn admin(&self) -> Client {
        let postgres = self.azure.real_postgres().expect("a real PostgreSQL");
        postgres.admin(DATABASE).await.expect("the superuser")
    }
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("a count").get(0)
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn a_job_starts_after_its_sidecar_ends_before_it_and_succeeds() {
    let world = World::new().await;
    let pod = world.pod("Job");
    let mut sidecar = pod.start_sidecar();
    pod.started(&mut sidecar).await;
    let application = pod.environment(pod.application());
    let named = |name: &&String| name.starts_with("AZURE_");
    assert_eq!(application.keys().find(named), None, "the job has no token");
    // Its first connection finds everything: nobody tries twice.
    let mut job = pod.start_application(None);
    assert_eq!(job.exit(PATIENCE).await, 0, "{}", job.log.tail());
    sidecar.assert_alive();
    sidecar.terminate();
    assert_eq!(sidecar.exit(pod.grace_period()).await, 0);
    let log = sidecar.log.whole().await;
    assert!(log.contains("stopped"), "{log}");
    let admin = world.admin().await;
    assert_eq!(count(&admin, "select count(*) from nightly_runs").await, 1);
    let sql = "select count(*) from pg_stat_activity where usename = 'my-app'";
    assert_eq!(count(&admin, sql).await, 0, "no backend is left");
    assert_eq!(world.azure.logins().refused_in_all(), 0);
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn a_job_that_fails_fails_with_its_own_code() {
    let world = World::new().await;
    let pod = world.pod("Job");
    let sql = pod.volume("jobs").join("nightly.sql");
    std::fs::write(&sql, "select * from nothing;\n").expect("a file");
    let mut sidecar = pod.start_sidecar();
    pod.started(&mut sidecar).await;
    let mut job = pod.start_application(None);
    // psql's, for an error in a script.
    assert_eq!(job.exit(PATIENCE).await, 3, "{}", job.log.tail());
    sidecar.terminate();
    assert_eq!(sidecar.exit(pod.grace_period()).await, 0);
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn the_application_waits_for_the_first_token() {
    let world = World::new().await;
    let pod = world.pod("Deployment");
    // Entra knows another cluster's key by now: whoever asks is refused.
    let _other = world.pod("Deployment");
    let mut sidecar = pod.start_sidecar();
    let refused = sidecar.log.find(|line| line.text.contains("AADSTS")).await;
    assert!(refused.is_some(), "{}", sidecar.log.tail());
    let reply = Probe::get(pod.http(), "/startup").send().await.unwrap();
    assert_eq!(reply.status, 503, "{}", reply.body);
    let socket = pod.volume("entrapool-sockets").join(".s.PGSQL.5432");
    assert!(!socket.exists(), "no listener before the first token");
    let reply = Probe::get(pod.http(), "/liveness").send().await.unwrap();
    assert_eq!(reply.status, 200, "nobody restarts it meanwhile");
    sidecar.terminate();
    assert_eq!(sidecar.exit(PATIENCE).await, 0);
}

/// Connects and asks every 100 ms; a failure ends it with 1. At SIGTERM it goes on for 2 s.
const BUSY: &str = r#"
    end=
    trap 'end=$(($(date +%s%3N) + 2000))' TERM
    while [ -z "$end" ] || [ "$(date +%s%3N)" -lt "$end" ]; do
        psql --no-psqlrc --quiet --username anyone --command "insert into visits default values" || exit 1
        sleep 0.1
    done
"#;

/// Of the visits, those after the moment when the application was told to stop.
async fn visits_since(admin: &Client, moment: &str) -> i64 {
    let sql = format!("select count(*) from visits where at > '{moment}'");
    count(admin, &sql).await
}

#[tokio::test]
#[ignore = "as root, and needs what `cargo xtask deploy` prepares"]
async fn a_drain_keeps_accepting() {
    let world = World::new().await;
    let admin = world.admin().await;
    let table = "create table visits(at timestamptz not null default clock_timestamp()); \
                 alter table visits owner to \"my-app\"";
    admin.batch_execute(table).await.expect("a table");
    // In kubelet's order, and at once, as where a sidecar is an ordinary container.
    for together in [false, true] {
        let pod = world.pod("Deployment");
        let mut sidecar = pod.start_sidecar();
        pod.started(&mut sidecar).await;
        let mut application = pod.start_application(Some(&["bash", "-c", BUSY]));
        let before = count(&admin, "select count(*) from visits").await;
        let began = Instant::now();
        while count(&admin, "select count(*) from visits").await < before + 3 {
            assert!(began.elapsed() < PATIENCE, "{}", application.log.tail());
            application.assert_alive();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let now: String = admin
            .query_one("select clock_timestamp()::text", &[])
            .await
            .expect("the time")
            .get(0);
        application.terminate();
        if together {
            sidecar.terminate();
        }
        // Connections that begin after the signal find the sidecar, all of them.
        let code = application.exit(PATIENCE).await;
        assert_eq!(
            code,
            0,
            "{}\n{}",
            application.log.tail(),
            sidecar.log.tail()
        );
        let visits = visits_since(&admin, &now).await;
        assert!(visits >= 5, "only {visits} visits while stopping");
        if !together {
            sidecar.assert_alive();
            sidecar.terminate();
        }
        assert_eq!(sidecar.exit(pod.grace_period()).await, 0);
    }
}
