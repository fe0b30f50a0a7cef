//! Logins at a real PostgreSQL through the LDAP responder. PostgreSQL must be installed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use entrapool_emulator::client;
use entrapool_emulator::directory::Principal;
use entrapool_emulator::issuer::{Issuer, OSSRDBMS_AUDIENCE, SQL_AUDIENCE};
use entrapool_emulator::pki::Pki;
use entrapool_emulator::postgres::{Postgres, RoleLogin, StopMode};
use entrapool_emulator::verifier::TokenRefusal;
use entrapool_emulator::{Error, LocalAzure, ServerChoice};
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;

type Outcome = anyhow::Result<()>;

async fn azure() -> Result<LocalAzure, Error> {
    LocalAzure::builder()
        .server(ServerChoice::Real)
        .start()
        .await
}

async fn login(
    azure: &LocalAzure,
    role: &str,
    password: &str,
) -> Result<tokio_postgres::Client, Error> {
    let mut config = Config::new();
    config.user(role).password(password).dbname("appdb");
    client::connect(azure.postgres_addr(), azure.pki().client_config()?, &config).await
}

/// The SQLSTATE of a refused login.
fn refused(outcome: Result<tokio_postgres::Client, Error>) -> Option<SqlState> {
    match outcome {
        Err(Error::Sql { source, .. }) => source.code().cloned(),
        _ => None,
    }
}

#[tokio::test]
async fn tokens_of_every_size_log_in_and_bad_ones_do_not() -> Outcome {
    let azure = azure().await?;
    let vm = Principal::named("my-vm");
    for size in [1_900, 8_000, 20_000, 60_000] {
        azure.issuer().set_size(size);
        let token = azure.issuer().mint(&vm, OSSRDBMS_AUDIENCE)?;
        let client = login(&azure, "my-vm", &token.secret).await?;
        let row = client
            .query_one(
                "select current_user::text, ssl from pg_stat_ssl where pid = pg_backend_pid()",
                &[],
            )
            .await?;
        assert_eq!((row.get(0), row.get(1)), ("my-vm", true));
    }
    let logins = azure.logins();
    assert_eq!((logins.accepted(), logins.distinct_tokens()), (4, 4));

    azure.issuer().set_size(1_900);
    let stranger = Issuer::new(Arc::clone(azure.issuer().directory()))?;
    let changed = |change: fn(&mut entrapool_emulator::issuer::Claims)| {
        let mut claims = azure.issuer().claims(&vm, OSSRDBMS_AUDIENCE)?;
        change(&mut claims);
        azure.issuer().sign(claims)
    };
    let other = Principal::named("other-vm");
    azure.issuer().directory().register(other.clone());
    for (token, reason) in [
        (
            changed(|claims| claims.exp = claims.iat)?,
            TokenRefusal::Expired,
        ),
        (
            changed(|claims| claims.nbf += 3600)?,
            TokenRefusal::NotYetValid,
        ),
        (
            azure.issuer().mint(&vm, SQL_AUDIENCE)?,
            TokenRefusal::WrongAudience,
        ),
        (
            azure.issuer().mint(&other, OSSRDBMS_AUDIENCE)?,
            TokenRefusal::WrongPrincipal,
        ),
        (
            stranger.mint(&vm, OSSRDBMS_AUDIENCE)?,
            TokenRefusal::BadSignature,
        ),
    ] {
        let state = refused(login(&azure, "my-vm", &token.secret).await);
        assert_eq!(
            state,
            Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
            "{reason}"
        );
        assert_eq!(logins.refused(reason), 1, "{reason}");
        let log = azure
            .real_postgres()
            .map(Postgres::server_log)
            .transpose()?;
        let diagnostics = format!("LDAP diagnostics: {reason}");
        assert!(log.unwrap_or_default().contains(&diagnostics), "{reason}");
    }
    let state = refused(login(&azure, "my-vm", "garbage").await);
    assert_eq!(state, Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
    assert_eq!(logins.refused(TokenRefusal::Malformed), 1);
    assert_eq!((logins.accepted(), logins.refused_in_all()), (4, 6));
    Ok(())
}

#[tokio::test]
async fn a_session_outlives_its_token_but_new_logins_do_not() -> Outcome {
    let azure = azure().await?;
    azure.issuer().set_life(Duration::from_secs(2));
    let token = azure
        .issuer()
        .mint(&Principal::named("my-vm"), OSSRDBMS_AUDIENCE)?;
    let client = login(&azure, "my-vm", &token.secret).await?;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    client.query_one("select 1", &[]).await?;
    assert!(login(&azure, "my-vm", &token.secret).await.is_err());
    assert_eq!(azure.logins().refused(TokenRefusal::Expired), 1);
    Ok(())
}

#[tokio::test]
async fn the_server_stops_starts_and_loses_backends() -> Outcome {
    let pki = Pki::new()?;
    let mut postgres = Postgres::builder()
        .role("direct", RoleLogin::Trust)
        .role("scram", RoleLogin::Scram("it's".to_owned()))
        .role("md5", RoleLogin::Md5("secret".to_owned()))
        .role("plain", RoleLogin::Cleartext("secret".to_owned()))
        .database("appdb")
        .max_connections(20)
        .start(&pki, None)
        .await?;
    let setting = postgres.psql("appdb", "show max_connections")?;
    assert_eq!(setting.trim(), "20");
    for (role, password) in [("scram", "it's"), ("md5", "secret"), ("plain", "secret")] {
        let mut config = Config::new();
        config.user(role).password(password).dbname("appdb");
        let client = client::connect(postgres.address(), pki.client_config()?, &config).await?;
        client
            .batch_execute("create table t (a int); drop table t")
            .await?;
        let row = client.query_one("select pg_backend_pid()", &[]).await?;
        assert!(postgres.terminate_backend(row.get(0)).await?);
        config.password("wrong");
        let wrong = client::connect(postgres.address(), pki.client_config()?, &config).await;
        assert_eq!(refused(wrong), Some(SqlState::INVALID_PASSWORD), "{role}");
    }
    let port = postgres.port();
    for mode in [StopMode::Fast, StopMode::Immediate] {
        postgres.restart(mode).await?;
        assert_eq!(postgres.port(), port);
        postgres.execute("appdb", "select 1").await?;
    }
    let directory = postgres.socket_directory().to_owned();
    postgres.stop(StopMode::Fast)?;
    assert!(postgres.admin("postgres").await.is_err());
    postgres.start().await?;
    drop(postgres);
    assert!(!directory.exists());
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn clients_refuse_a_wrong_or_expired_certificate() -> Outcome {
    let pki = Pki::new()?;
    for certificate in [
        pki.issue(&["elsewhere.example"])?,
        pki.issue_expired(&["localhost"])?,
    ] {
        let postgres = Postgres::builder()
            .certificate(certificate)
            .start(&pki, None)
            .await?;
        let outcome = client::secure(postgres.address(), pki.client_config()?).await;
        assert!(outcome.is_err_and(|error| error.to_string().contains("certificate")));
    }
    Ok(())
}

#[tokio::test]
async fn programs_may_be_where_the_servers_account_may_not_enter() -> Outcome {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env/postgresql-18");
    let programs = programs.canonicalize();
    let programs = programs.context("`cargo xtask test` brings PostgreSQL 18")?;
    // A new temporary directory is for its owner alone: root, perhaps, who can't run a server.
    let home = tempfile::tempdir()?;
    let copy = home.path().join("programs");
    let mut copying = std::process::Command::new("cp");
    let copied = copying
        .arg("--recursive")
        .arg(programs)
        .arg(&copy)
        .status()?;
    assert!(copied.success());
    let pki = Pki::new()?;
    let postgres = Postgres::builder()
        .programs(&copy.join("bin"))
        .role("app", RoleLogin::Scram("secret".to_owned()))
        .database("appdb");
    let postgres = postgres.start(&pki, None).await?;
    let mut config = Config::new();
    config.user("app").password("secret").dbname("appdb");
    let client = client::connect(postgres.address(), pki.client_config()?, &config).await?;
    // It owns the database: there is no token role.
    client.batch_execute("create schema mine").await?;
    let row = client.query_one("show server_version", &[]).await?;
    assert!(row.get::<_, &str>(0).starts_with("18."));
    let nowhere = Postgres::builder().programs(home.path());
    let error = nowhere
        .start(&pki, None)
        .await
        .expect_err("no server there");
    assert!(error.to_string().contains("it is not in"), "{error}");
    Ok(())
}
