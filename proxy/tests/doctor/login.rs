//! Faults of logins, roles and databases: on a real PostgreSQL where it has them, in Azure's words
//! where only Azure has.

use entrapool_emulator::DatabaseServer;
use entrapool_emulator::embedded::LoginFault;
use entrapool_emulator::tds::Profile;
use tokio::net::TcpListener;

use crate::examination::{Wanted, azure, expect, expect_silence, sql_server};
use crate::sidecar::{PASSWORD_ROLE, SOMEONE_ELSE, Sidecar, shared};

#[tokio::test]
async fn a_real_postgresql() {
    let azure = shared().await;
    let database = azure.new_database().await;
    let full = azure.new_database().await;
    let closed = azure.new_database().await;
    let admin = azure.admin("postgres").await;
    admin
        .batch_execute(&format!(
            "alter database {full} connection limit 0; revoke connect on database {closed} from public"
        ))
        .await
        .unwrap();
    let owner = format!("alter database {closed} owner to current_user");
    admin.batch_execute(&owner).await.unwrap();
    let launch = || Sidecar::on(&azure).database(&database);
    let table: [(&str, crate::sidecar::Launch, Wanted); 6] = [
        (
            "a database that does not exist",
            launch().database("no-such-db"),
            (
                "login",
                "database-missing",
                "Create the database \"no-such-db\"",
            ),
        ),
        (
            "a database that the role may not enter",
            launch().database(&closed),
            ("login", "database-denied", "GRANT CONNECT"),
        ),
        (
            "no connection left",
            launch().database(&full),
            ("login", "too-many-connections", "Lower pool_size"),
        ),
        (
            "a role that was made with a password",
            launch().user(PASSWORD_ROLE),
            ("login", "role-not-entra", "pgaadauth_create_principal"),
        ),
        (
            "a role of another identity",
            launch().user(SOMEONE_ELSE),
            ("login", "role-other-name", "Write \"my-vm\""),
        ),
        (
            "a role without a line in pg_hba.conf",
            launch().user("nobody"),
            ("login", "no-access-rule", "firewall rules"),
        ),
    ];
    for (fault, launch, wanted) in table {
        expect(fault, &launch, wanted).await;
    }
}

#[tokio::test]
async fn postgresql_in_azures_words() {
    let azure = azure().await;
    let DatabaseServer::Embedded(server) = azure.server() else {
        panic!("the embedded server");
    };
    let refuse = |code, text: &str| LoginFault::Refuse(code, text.to_owned());
    let table: [(&str, LoginFault, Wanted); 13] = [
        (
            "a role that does not exist",
            refuse("28000", "role \"my-vm\" does not exist"),
            (
                "login",
                "role-missing",
                "pgaadauth_create_principal('my-vm'",
            ),
        ),
        (
            "a role that was not created from Entra (refused)",
            refuse("28P01", "password authentication failed for user \"my-vm\""),
            ("login", "role-refused", "a plain CREATE ROLE is not enough"),
        ),
        (
            "a role that was not created from Entra (a password is wanted)",
            LoginFault::AskForPassword,
            ("login", "role-not-entra", "pgaadauth_create_principal"),
        ),
        (
            "a role that is to log in with GSSAPI",
            LoginFault::AskForGssapi,
            ("login", "method-unknown", "scram-sha-256"),
        ),
        (
            "a role of the wrong type",
            refuse(
                "28000",
                "Service Principals cannot generate AAD_AUTH_TOKENTYPE_APP_USER tokens for role[my-vm]",
            ),
            ("login", "role-type", "pgaadauth_create_principal_with_oid"),
        ),
        (
            "the server takes the token for expired",
            refuse(
                "28000",
                "The access token has expired. Please acquire a new token and retry.",
            ),
            ("login", "token-refused-expired", "clock"),
        ),
        (
            "the server wants another audience",
            refuse(
                "28000",
                "The access token does not have a valid audience claim. Please acquire a new token for the resource \"x\".",
            ),
            ("login", "token-refused-audience", "Check cloud"),
        ),
        (
            "the server finds the token malformed",
            refuse(
                "28000",
                "The access token has invalid format. Please ensure the token is passed exactly as returned by the authentication endpoint and retry.",
            ),
            ("login", "token-refused", "tenant"),
        ),
        (
            "the server's slots are taken",
            refuse("53300", "sorry, too many clients already"),
            ("login", "too-many-connections", "Lower pool_size"),
        ),
        (
            "the server is starting",
            refuse("57P03", "the database system is starting up"),
            ("login", "server-not-ready", "Try again"),
        ),
        (
            "the server closes the connection in the login",
            LoginFault::Close,
            ("login", "login-broken", "server's log"),
        ),
        (
            "the server refuses the login for a reason of its own",
            refuse("XX000", "internal error"),
            ("login", "login-refused", "the server's own"),
        ),
        (
            "the server closes the connection behind the login",
            LoginFault::CloseBehind,
            ("query", "query-broken", "a proxy on the way"),
        ),
    ];
    for (fault, injected, wanted) in table {
        server.queue_login_fault(injected);
        expect(fault, &Sidecar::on(&azure), wanted).await;
    }
}

#[tokio::test]
async fn a_silent_postgresql_and_names_that_differ() {
    let azure = azure().await;
    let DatabaseServer::Embedded(server) = azure.server() else {
        panic!("the embedded server");
    };
    server.queue_login_fault(LoginFault::Silence);
    let wanted = ("login", "login-silent", "reach Entra");
    expect_silence(
        "the server never answers the login",
        &Sidecar::on(&azure),
        wanted,
    )
    .await;
    let launch = Sidecar::on(&azure).user("My-VM");
    let wanted = ("login", "role-case", "Write \"my-vm\" for the user");
    let diagnosis = expect("the role's name in the wrong case", &launch, wanted).await;
    let detail = diagnosis.step("login")["findings"][0]["detail"].to_string();
    assert!(detail.contains("is let in"), "{detail}");
    let launch = Sidecar::on(&azure).user("app");
    let wanted = ("login", "role-other-name", "Write \"my-vm\" for the user");
    expect(
        "a role that is missing, beside the identity's own",
        &launch,
        wanted,
    )
    .await;
}

#[tokio::test]
async fn sql_server_in_azures_numbers() {
    let azure = azure().await;
    let server = sql_server(&azure, |server| server).await;
    let launch = Sidecar::on_sql_server(&azure, &server);
    let table: [(&str, i32, Wanted); 11] = [
        (
            "40615: the firewall",
            40_615,
            ("login", "sql-firewall", "firewall"),
        ),
        (
            "40914: a virtual network rule",
            40_914,
            ("login", "sql-firewall", "firewall"),
        ),
        (
            "47073: no public access",
            47_073,
            ("login", "public-access-denied", "private endpoint"),
        ),
        (
            "40532: a name that the gateway does not know",
            40_532,
            ("login", "server-name", "full name"),
        ),
        (
            "4060: a database that can't be opened",
            4060,
            ("login", "database-missing", "\"appdb\""),
        ),
        (
            "916: a database that is not the user's",
            916,
            ("login", "database-denied", "CREATE USER"),
        ),
        (
            "18456: the token is expired",
            18_456,
            ("login", "token-refused-expired", "clock"),
        ),
        (
            "10928: too many sessions",
            10_928,
            ("login", "too-many-connections", "Lower pool_size"),
        ),
        (
            "49918: no resources",
            49_918,
            ("login", "too-many-connections", "Lower pool_size"),
        ),
        (
            "40613: a database that wakes up",
            40_613,
            ("login", "server-not-ready", "wakes up"),
        ),
        (
            "40501: a server that is busy",
            40_501,
            ("login", "server-not-ready", "Try again"),
        ),
    ];
    for (fault, number, wanted) in table {
        server.fail_logins(number, 1);
        expect(fault, &launch, wanted).await;
    }
    let launch = launch.database("no-such-db");
    let wanted = ("login", "database-missing", "\"no-such-db\"");
    expect("a database that does not exist (TDS)", &launch, wanted).await;
    let launch = launch.database("master");
    let wanted = ("login", "user-missing", "FROM EXTERNAL PROVIDER");
    expect(
        "an identity without a user in the database",
        &launch,
        wanted,
    )
    .await;

    server.fail_logins(33_000, 1);
    let launch = launch.database("appdb");
    let wanted = ("login", "login-refused", "the server's own");
    expect("an error that nobody has heard of (TDS)", &launch, wanted).await;
    server.fail_statement(1205);
    let wanted = ("query", "query-refused", "the server's own");
    expect("the server refuses the first query (TDS)", &launch, wanted).await;
    let bare = sql_server(&azure, |server| server.profile(Profile::Bare)).await;
    let launch = Sidecar::on_sql_server(&azure, &bare);
    let wanted = ("login", "entra-off", "Turn on Entra authentication");
    expect("a SQL Server without Entra authentication", &launch, wanted).await;

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let gateway = sql_server(&azure, |server| server.redirect_to("localhost", port)).await;
    let launch = Sidecar::on_sql_server(&azure, &gateway);
    let wanted = ("login", "redirect-blocked", "11000 to 11999");
    expect("the gateway sends us where nobody listens", &launch, wanted).await;
}

#[tokio::test]
async fn a_password_that_is_wrong() {
    let azure = shared().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "open-sesame-but-wrong").unwrap();
    let launch = Sidecar::on(&azure).user(PASSWORD_ROLE);
    let launch = launch
        .without("imds_endpoint")
        .key("identity", "password-file")
        .key("password_file", file.to_str().unwrap());
    let wanted = ("login", "password-wrong", "password_file");
    expect("a wrong password", &launch, wanted).await;
    let server = entrapool_emulator::tds::TdsServer::builder()
        .database("appdb")
        .password("sa", "right");
    let server = server.start().await.unwrap();
    let launch = Sidecar::on_plain_sql_server(&server).user("sa");
    let launch = launch.key("password_file", file.to_str().unwrap());
    expect("a wrong password (TDS)", &launch, wanted).await;
}
