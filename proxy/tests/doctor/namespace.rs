//! Faults of names and networks, in a network of its own: name servers, private endpoints, firewall
//! rules, and IMDS at its real address.
//!
//! The test starts itself again in new namespaces (`unshare`), where it may bind port 53, set
//! addresses and write rules. It needs no root where users may make namespaces.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use entrapool_emulator::dns::{Entry, NameServer};
use entrapool_emulator::{LocalAzure, faults};
use tokio::net::{TcpListener, TcpStream};

use crate::examination::{Examination, azure, expect, expect_silence, sql_server};
use crate::sidecar::{Launch, Sidecar};

/// Says that the namespaces are made.
const INSIDE: &str = "ENTRAPOOL_TEST_IS_IN_A_NAMESPACE";
const POSTGRES: &str = "my.postgres.database.azure.com";
const SQL: &str = "my.database.windows.net";
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(20, 1, 2, 3);
/// Rules drop what is for it.
const FILTERED: Ipv4Addr = Ipv4Addr::new(20, 1, 2, 4);
/// A route of this machine forbids it.
const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(20, 1, 2, 5);
/// No route leads there.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(20, 9, 9, 9);

#[test]
fn names_networks_and_private_endpoints() {
    if std::env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(inside());
    }
    let test = "namespace::names_networks_and_private_endpoints";
    let status = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare (util-linux) is installed");
    assert!(
        status.success(),
        "in namespaces of its own: {status}. If it was not even started there, users may make no \
         namespaces on this machine (sysctl kernel.unprivileged_userns_clone, \
         user.max_user_namespaces): run the tests as root"
    );
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-euc", script]).status().unwrap();
    assert!(
        status.success(),
        "{script} (it needs iproute2 and nftables)"
    );
}

/// A forwarder at `from:port` to `server`, so that the stand-ins are found at Azure's addresses.
async fn forward(from: Ipv4Addr, port: u16, server: std::net::SocketAddr) {
    let listener = TcpListener::bind((from, port)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
}

async fn inside() {
    let folder = tempfile::tempdir().unwrap();
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(
        &resolv,
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    )
    .unwrap();
    shell(&format!(
        "ip link set lo up
         for address in {PRIVATE} {PUBLIC} {FILTERED} 169.254.169.254; do
             ip address add $address/32 dev lo
         done
         mount --bind {} /etc/resolv.conf
         ip route add prohibit {FORBIDDEN}
         nft add table inet filter
         nft add chain inet filter input '{{ type filter hook input priority 0; }}'
         nft add rule inet filter input ip daddr {FILTERED} drop",
        resolv.display()
    ));
    let names = NameServer::start(([127, 0, 0, 1], 53).into())
        .await
        .unwrap();
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let [to_postgres, to_sql] = [azure.postgres_addr(), server.addr()];
    forward(PRIVATE, 5432, to_postgres).await;
    forward(PRIVATE, 1433, to_sql).await;
    let routes = || {
        let postgres = Sidecar::on(&azure).server(&format!("{POSTGRES}:5432"));
        let sql = Sidecar::on_sql_server(&azure, &server).server(&format!("{SQL}:1433"));
        [(postgres, POSTGRES), (sql, SQL)]
    };
    for (launch, host) in routes() {
        one_name(&names, &launch, host).await;
    }
    drop(names);
    for (launch, _) in routes() {
        let wanted = ("resolve", "dns-silent", "/etc/resolv.conf");
        expect("no name server answers", &launch, wanted).await;
    }
    imds_at_its_own_address(&azure).await;
}

/// The name of a server with a private endpoint, as it may be set up.
async fn one_name(names: &NameServer, launch: &Launch, host: &str) {
    let (server, zone) = host.split_once('.').unwrap();
    let link = format!("{server}.privatelink.{zone}");
    let wanted = ("resolve", "name-unknown", "Check the host in the ROUTE");
    expect("the server's name does not exist", launch, wanted).await;

    names.set(host, Entry::Alias(link.clone()));
    let wanted = ("resolve", "private-record-missing", "DNS zone group");
    expect(
        "the private zone has no record of the server",
        launch,
        wanted,
    )
    .await;

    names.set(&link, Entry::Address(PRIVATE));
    let diagnosis = Examination::on(launch).json().await;
    diagnosis.is_good();
    assert_eq!(diagnosis.fact("resolve", "alias_of"), link);
    assert_eq!(diagnosis.fact("resolve", "addresses"), "10.0.0.4 (private)");

    names.set(&link, Entry::Address(PUBLIC));
    let wanted = ("tcp", "tcp-refused", "");
    let diagnosis = expect("the private zone is not linked", launch, wanted).await;
    diagnosis.warns("resolve", "private-zone-not-linked");

    names.set(&link, Entry::Address(FILTERED));
    let wanted = ("tcp", "tcp-filtered", "");
    let diagnosis = expect_silence("a firewall drops the packets (nftables)", launch, wanted).await;
    diagnosis.warns("resolve", "private-zone-not-linked");

    names.set(host, Entry::Address(NOWHERE));
    let wanted = ("tcp", "tcp-unreachable", "peering");
    expect("no route leads to the server", launch, wanted).await;

    names.set(host, Entry::Address(FORBIDDEN));
    let wanted = ("tcp", "tcp-forbidden", "nft list ruleset");
    expect("a rule of this machine forbids it", launch, wanted).await;

    names.set(host, Entry::Address(PRIVATE));
    let diagnosis = Examination::on(launch).json().await;
    println!(
        "{:64} → {:14} private-address-unexplained",
        "a private address from elsewhere", "resolve"
    );
    diagnosis.warns("resolve", "private-address-unexplained");
    assert_eq!(diagnosis.exit, 0, "a warning is no failure");

    names.set(&link, Entry::Address(PRIVATE));
    let port = match host {
        POSTGRES => 5432,
        _ => 1433,
    };
    let own = launch.clone().server(&format!("{link}:{port}"));
    println!(
        "{:64} → {:14} privatelink-name",
        "the ROUTE names the private endpoint itself", "resolve"
    );
    let diagnosis = Examination::on(&own).json().await;
    diagnosis.warns("resolve", "privatelink-name");
    let dialled = launch.clone().key("connect_to", &link);
    Examination::on(&dialled).json().await.is_good();
    names.remove(host);
    names.remove(&link);
}

/// Without `imds_endpoint`, as on a real machine.
async fn imds_at_its_own_address(azure: &LocalAzure) {
    let launch = Sidecar::on(azure).without("imds_endpoint");
    let imds = Ipv4Addr::new(169, 254, 169, 254);
    let wanted = ("identity", "imds-unreachable", "169.254.169.254");
    let diagnosis = expect(
        "IMDS refuses connections, at 169.254.169.254",
        &launch,
        wanted,
    )
    .await;
    assert_eq!(diagnosis.fact("identity", "chosen"), "by the configuration");
    let address = azure.imds_endpoint();
    let address = address.trim_start_matches("http://").parse().unwrap();
    forward(imds, 80, address).await;
    Examination::on(&launch).json().await.is_good();
    azure.imds().faults().set(faults::Fault::Status(400));
    let wanted = ("identity", "identity-none", "system-assigned");
    expect(
        "the VM has no identity, at 169.254.169.254",
        &launch,
        wanted,
    )
    .await;
    azure.imds().faults().clear();
    shell("nft add rule inet filter input ip daddr 169.254.169.254 drop");
    let wanted = ("identity", "imds-unreachable", "NetworkPolicy");
    expect_silence("a firewall keeps us from 169.254.169.254", &launch, wanted).await;
}
