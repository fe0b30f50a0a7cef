//! Faults of configuration, identity and token.

use std::time::Duration;

use entrapool_emulator::app_service::AppService;
use entrapool_emulator::directory::Principal;
use entrapool_emulator::faults::{Fault, Twist};
use entrapool_emulator::managed_identity::Assignment;

use crate::examination::{Examination, azure, both, expect, sql_server};
use crate::sidecar::Sidecar;

#[tokio::test]
async fn configuration() {
    let azure = azure().await;
    let launch = Sidecar::on(&azure);
    let route = launch.route();
    let bad = [
        (
            "a key that does not exist",
            format!("{route}&pool_sice=3"),
            ("configuration", "configuration", "docs/configuration.md"),
        ),
        (
            "a password in the ROUTE, which is not shown",
            "postgres://my-vm:open-sesame@db.example.com/db".to_owned(),
            ("configuration", "configuration", "docs/configuration.md"),
        ),
        (
            "a ca_file that is not there",
            launch.key("ca_file", "/no/such/file").route(),
            ("configuration", "route-files", "holds PEM"),
        ),
        (
            "an IMDS endpoint on the network",
            Sidecar::on(&azure)
                .key("imds_endpoint", "http://10.0.0.1")
                .route(),
            ("configuration", "configuration", "docs/configuration.md"),
        ),
    ];
    for (fault, route, wanted) in bad {
        let diagnosis = Examination::of(&[&route]).json().await;
        diagnosis.finds(fault, wanted);
        assert_eq!(diagnosis.outcome("query"), "skipped");
    }
    let nothing = Examination::of(&[]).json().await;
    let wanted = ("configuration", "configuration", "docs/configuration.md");
    nothing.finds("no route at all", wanted);
}

#[tokio::test]
async fn the_metadata_service() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let faults = azure.imds().faults();
    let table = [
        (
            "IMDS answers 429",
            Fault::Status(429),
            "imds-throttled",
            "20 requests a second",
        ),
        (
            "IMDS answers 410",
            Fault::Status(410),
            "imds-updating",
            "within 70 s",
        ),
        (
            "IMDS answers 404",
            Fault::Status(404),
            "imds-updating",
            "within 70 s",
        ),
        (
            "IMDS answers 403",
            Fault::Status(403),
            "imds-forbidden",
            "a local rule or a proxy",
        ),
        (
            "IMDS answers 500",
            Fault::Status(500),
            "source-failed",
            "asked again",
        ),
        (
            "a captive portal answers for IMDS",
            Fault::Garbage,
            "source-answer",
            "something else",
        ),
    ];
    for (fault, injected, cause, remedy) in table {
        faults.set(injected);
        for launch in both(&azure, &server) {
            let wanted = ("identity", cause, remedy);
            let diagnosis = expect(fault, &launch, wanted).await;
            assert_eq!(diagnosis.outcome("tls"), "ok", "the way goes on");
        }
    }
    faults.clear();
    azure.imds().set_limits(0, 5);
    for launch in both(&azure, &server) {
        let wanted = ("identity", "imds-throttled", "20 requests a second");
        expect("others have used up IMDS's limit", &launch, wanted).await;
    }
    azure.imds().refuse_connections().await;
    for launch in both(&azure, &server) {
        let wanted = ("identity", "imds-unreachable", "is this an Azure VM?");
        expect("IMDS refuses connections", &launch, wanted).await;
    }
}

#[tokio::test]
async fn the_machines_identities() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    azure.identities().unassign_all();
    for launch in both(&azure, &server) {
        let wanted = ("identity", "identity-none", "system-assigned");
        expect("the machine has no identity", &launch, wanted).await;
    }
    for name in ["one", "other"] {
        let principal = Principal::named(name);
        azure.identities().assign(Assignment::User, principal);
    }
    for launch in both(&azure, &server) {
        let wanted = ("identity", "identity-several", "set client_id");
        expect("two user-assigned identities, none named", &launch, wanted).await;
        let launch = launch.key("client_id", "00000000-0000-4000-8000-000000000000");
        let wanted = ("identity", "identity-not-assigned", "correct the id");
        expect("a client_id that is not the machine's", &launch, wanted).await;
    }
}

#[tokio::test]
async fn other_sources() {
    let azure = azure().await;
    let launch = Sidecar::on(&azure).without("imds_endpoint");
    let app_service = AppService::start(azure.identities().clone()).await.unwrap();
    let endpoint = app_service.identity_endpoint();
    let examine = |header: &str| {
        let launch = Sidecar::on(&azure)
            .without("imds_endpoint")
            .key("identity", "app-service");
        Examination::on(&launch)
            .variable("IDENTITY_ENDPOINT", &endpoint)
            .variable("IDENTITY_HEADER", header)
            .json()
    };
    examine(app_service.identity_header()).await.is_good();
    let wanted = ("identity", "app-service-forbidden", "IDENTITY_HEADER");
    let diagnosis = examine("wrong").await;
    diagnosis.finds("App Service refuses the header", wanted);
    drop(app_service);
    let wanted = ("identity", "app-service-unreachable", "IDENTITY_ENDPOINT");
    let diagnosis = examine("x").await;
    diagnosis.finds("App Service refuses connections", wanted);

    let workload = |authority: &str, file: &str| {
        Examination::on(
            &Sidecar::on(&azure)
                .without("imds_endpoint")
                .key("identity", "workload"),
        )
        .variable("AZURE_TENANT_ID", "tenant")
        .variable("AZURE_CLIENT_ID", "client")
        .variable("AZURE_AUTHORITY_HOST", authority)
        .variable("AZURE_FEDERATED_TOKEN_FILE", file)
        .json()
    };
    let missing = workload("https://127.0.0.1:1", "/no/such/file").await;
    let wanted = ("identity", "credential-file", "azure.workload.identity/use");
    missing.finds("the federated token's file is not there", wanted);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "assertion").unwrap();
    let closed = workload("https://127.0.0.1:1", file.to_str().unwrap()).await;
    let wanted = ("identity", "entra-unreachable", "outgoing port 443");
    closed.finds("Entra can't be reached", wanted);

    let odd = Examination::on(&launch.clone().key("identity", "secret"))
        .variable("AZURE_TENANT_ID", "no/tenant?")
        .variable("AZURE_CLIENT_ID", "client")
        .variable("AZURE_CLIENT_SECRET", "open-sesame")
        .json();
    let wanted = ("identity", "identity-settings", "");
    odd.await.finds("a tenant id that is none", wanted);
    let without_az = Examination::on(&launch.clone().key("identity", "az-cli"))
        .variable("PATH", "/no/such/directory")
        .json();
    let wanted = ("identity", "az-cli", "");
    without_az.await.finds("no Azure CLI", wanted);

    let launch = launch.key("identity", "password-file");
    let launch = launch.key("password_file", "/no/such/file").user("x");
    let wanted = ("identity", "credential-file", "");
    expect("the password's file is not there", &launch, wanted).await;
}

#[tokio::test]
async fn the_tokens_claims() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let faults = azure.imds().faults();
    for launch in both(&azure, &server) {
        faults.set(Fault::Token(Twist::Resource(
            "https://management.azure.com/",
        )));
        let wanted = ("claims", "token-audience", "Check cloud");
        let diagnosis = expect("a token for another resource", &launch, wanted).await;
        assert_eq!(
            diagnosis.outcome("login"),
            "failed",
            "the server says so too"
        );
        faults.set(Fault::Token(Twist::Overdue));
        let wanted = ("claims", "token-expired", "clock");
        let diagnosis = expect("a token that has expired by its claim", &launch, wanted).await;
        let finding = &diagnosis.step("login")["findings"][0];
        assert_eq!(finding["cause"], "token-refused-expired");
        faults.clear();
        azure.identities().forget_tokens();
        faults.set(Fault::Token(Twist::Early));
        let wanted = ("claims", "clock-behind", "Set the clock");
        expect("this machine's clock is behind", &launch, wanted).await;
        faults.set(Fault::Token(Twist::Opaque));
        let diagnosis = Examination::on(&launch).json().await;
        diagnosis.warns("claims", "token-opaque");
        assert_eq!(diagnosis.outcome("login"), "failed", "{:#}", diagnosis.json);
        faults.clear();
        azure.identities().forget_tokens();
        azure.issuer().set_life(Duration::ZERO);
        let wanted = ("identity", "token-stale", "clock");
        expect("a token that is over when it comes", &launch, wanted).await;
        azure.issuer().set_life(Duration::from_secs(3600));
    }
}
