//! The embedded server, asked by tokio-postgres.

use entrapool_emulator::directory::Principal;
use entrapool_emulator::issuer::{OSSRDBMS_AUDIENCE, SQL_AUDIENCE};
use entrapool_emulator::{Error, LocalAzure, ServerChoice, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

type Outcome = anyhow::Result<()>;

async fn azure() -> Result<LocalAzure, Error> {
    LocalAzure::builder()
        .server(ServerChoice::Embedded)
        .start()
        .await
}

async fn login(azure: &LocalAzure, role: &str, password: &str) -> Result<Client, Error> {
    let mut config = Config::new();
    config.user(role).password(password).dbname("appdb");
    client::connect(azure.postgres_addr(), azure.pki().client_config()?, &config).await
}

async fn client(azure: &LocalAzure) -> Result<Client, Error> {
    let token = azure
        .issuer()
        .mint(&Principal::named("my-vm"), OSSRDBMS_AUDIENCE)?;
    login(azure, "my-vm", &token.secret).await
}

/// SQLSTATE and message of a refused login.
fn refusal(outcome: Result<Client, Error>) -> (String, String) {
    match outcome {
        Err(Error::Sql { source, .. }) => source
            .as_db_error()
            .map(|error| (error.code().code().to_owned(), error.message().to_owned()))
            .unwrap_or_default(),
        _ => Default::default(),
    }
}

fn code<T>(outcome: Result<T, tokio_postgres::Error>) -> Option<SqlState> {
    outcome.err().and_then(|error| error.code().cloned())
}

#[tokio::test]
async fn logins_have_azures_words() -> Outcome {
    let azure = azure().await?;
    let vm = Principal::named("my-vm");
    for size in [1_900, 20_000, 60_000] {
        azure.issuer().set_size(size);
        client(&azure).await?;
    }
    azure.issuer().set_size(1_900);
    let mut claims = azure.issuer().claims(&vm, OSSRDBMS_AUDIENCE)?;
    claims.exp = claims.iat;
    let expired = azure.issuer().sign(claims)?;
    let text = "The access token has expired. Please acquire a new token and retry.";
    assert_eq!(
        refusal(login(&azure, "my-vm", &expired.secret).await),
        ("28000".to_owned(), text.to_owned())
    );
    let audience = azure.issuer().mint(&vm, SQL_AUDIENCE)?;
    let text = "The access token does not have a valid audience claim. Please acquire a new \
                token for the resource \"https://ossrdbms-aad.database.windows.net\".";
    assert_eq!(
        refusal(login(&azure, "my-vm", &audience.secret).await),
        ("28000".to_owned(), text.to_owned())
    );
    let good = azure.issuer().mint(&vm, OSSRDBMS_AUDIENCE)?;
    let text = "password authentication failed for user \"other\"";
    assert_eq!(
        refusal(login(&azure, "other", &good.secret).await),
        ("28P01".to_owned(), text.to_owned())
    );
    let mut config = Config::new();
    config
        .user("my-vm")
        .password(&good.secret)
        .dbname("nowhere");
    let outcome =
        client::connect(azure.postgres_addr(), azure.pki().client_config()?, &config).await;
    assert_eq!(refusal(outcome).0, "3D000");
    assert_eq!(azure.logins().refused_in_all(), 3);
    Ok(())
}

#[tokio::test]
async fn without_tls_there_is_no_login() -> Outcome {
    let azure = azure().await?;
    let stream = TcpStream::connect(azure.postgres_addr()).await?;
    let mut config = Config::new();
    config.user("my-vm").password("x");
    let Err(error) = config.connect_raw(stream, NoTls).await else {
        anyhow::bail!("logged in without TLS");
    };
    assert_eq!(
        error.code(),
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    );
    Ok(())
}

#[tokio::test]
async fn a_cancel_request_is_answered_by_silence() -> Outcome {
    let azure = azure().await?;
    let mut stream = TcpStream::connect(azure.postgres_addr()).await?;
    let mut request = Vec::new();
    for word in [16, 80_877_102, 1000, 1000] {
        request.extend(i32::to_be_bytes(word));
    }
    stream.write_all(&request).await?;
    assert_eq!(stream.read(&mut [0; 16]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn simple_queries_give_rows_and_tags() -> Outcome {
    let azure = azure().await?;
    let client = client(&azure).await?;
    let messages = client
        .simple_query(
            "create table t (id serial primary key, name text not null, ok bool); \
             insert into t (name, ok) values ('a', true), ('b', null); \
             select id, name, ok, count(*) over () from t order by id",
        )
        .await?;
    let rows: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at)).collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        rows,
        [
            [Some("1"), Some("a"), Some("t"), Some("2")],
            [Some("2"), Some("b"), None, Some("2")],
        ]
    );
    let counts: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [0, 2, 2]);
    let messages = client.simple_query("show server_version").await?;
    let shown = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert!(shown.is_some_and(|version| version.starts_with("15.")));
    client.simple_query("").await?;
    Ok(())
}

#[tokio::test]
async fn extended_queries_carry_typed_parameters() -> Outcome {
    let azure = azure().await?;
    let client = client(&azure).await?;
    client
        .batch_execute("create table t (i int, b bigint, f float8, s text, ok bool, x bytea)")
        .await?;
    let insert = client
        .prepare("insert into t values ($1, $2, $3, $4, $5, $6)")
        .await?;
    assert_eq!(
        insert.params(),
        [
            Type::INT4,
            Type::INT8,
            Type::FLOAT8,
            Type::TEXT,
            Type::BOOL,
            Type::BYTEA
        ]
    );
    for number in 1..=3_i32 {
        let changed = client
            .execute(
                &insert,
                &[
                    &number,
                    &i64::MAX,
                    &0.5_f64,
                    &"ä",
                    &true,
                    &[0_u8, 255].as_slice(),
                ],
            )
            .await?;
        assert_eq!(changed, 1);
    }
    let row = client
        .query_one("select * from t where i = $1 and s = $2", &[&2_i32, &"ä"])
        .await?;
    assert_eq!(row.get::<_, i32>(0), 2);
    assert_eq!(row.get::<_, i64>("b"), i64::MAX);
    assert_eq!(row.get::<_, f64>("f").to_bits(), 0.5_f64.to_bits());
    assert_eq!(row.get::<_, &str>("s"), "ä");
    assert!(row.get::<_, bool>("ok"));
    assert_eq!(row.get::<_, &[u8]>("x"), [0, 255]);
    let row = client
        .query_one(
            "select 1, count(*), $1::int8 as n, current_user, pg_backend_pid(), null from t",
            &[&7_i64],
        )
        .await?;
    assert_eq!((row.get(0), row.get(1), row.get(2)), (1_i32, 3_i64, 7_i64));
    assert_eq!(row.get::<_, &str>("current_user"), "my-vm");
    assert!(row.get::<_, i32>("pg_backend_pid") > 0);
    assert_eq!(row.get::<_, Option<&str>>(5), None);
    let typed = client.prepare_typed("select $1", &[Type::INT4]).await?;
    assert_eq!(
        client.query_one(&typed, &[&5_i32]).await?.get::<_, i32>(0),
        5
    );
    let version = client.query_one("select version()", &[]).await?;
    assert!(version.get::<_, &str>(0).starts_with("PostgreSQL 15"));
    Ok(())
}

#[tokio::test]
async fn transactions_commit_roll_back_and_fail() -> Outcome {
    let azure = azure().await?;
    let mut writer = client(&azure).await?;
    let reader = client(&azure).await?;
    writer
        .batch_execute("create table t (a int unique)")
        .await?;
    let count = async |client: &Client| {
        let row = client.query_one("select count(*) from t", &[]).await?;
        anyhow::Ok(row.get::<_, i64>(0))
    };
    let transaction = writer.transaction().await?;
    transaction
        .execute("insert into t values ($1)", &[&1_i32])
        .await?;
    assert_eq!(count(&reader).await?, 0);
    transaction.commit().await?;
    assert_eq!(count(&reader).await?, 1);

    let mut transaction = writer.transaction().await?;
    transaction.execute("insert into t values (2)", &[]).await?;
    let savepoint = transaction.transaction().await?;
    let twice = savepoint.execute("insert into t values (2)", &[]).await;
    assert_eq!(code(twice), Some(SqlState::UNIQUE_VIOLATION));
    let after = savepoint.execute("insert into t values (3)", &[]).await;
    assert_eq!(code(after), Some(SqlState::IN_FAILED_SQL_TRANSACTION));
    savepoint.rollback().await?;
    transaction.execute("insert into t values (4)", &[]).await?;
    transaction.commit().await?;
    assert_eq!(count(&reader).await?, 3);

    let transaction = writer.transaction().await?;
    transaction.execute("delete from t", &[]).await?;
    transaction.rollback().await?;
    assert_eq!(count(&reader).await?, 3);

    // Several statements in one Query message are one transaction.
    let outcome = writer
        .batch_execute("insert into t values (9); insert into t values (1)")
        .await;
    assert_eq!(code(outcome), Some(SqlState::UNIQUE_VIOLATION));
    assert_eq!(count(&reader).await?, 3);
    Ok(())
}

#[tokio::test]
async fn errors_have_sqlstates_and_the_session_goes_on() -> Outcome {
    let azure = azure().await?;
    let client = client(&azure).await?;
    client
        .batch_execute("create table t (a int not null)")
        .await?;
    for (sql, state) in [
        ("selec 1", SqlState::FEATURE_NOT_SUPPORTED),
        ("select from where", SqlState::SYNTAX_ERROR),
        ("select * from missing", SqlState::UNDEFINED_TABLE),
        ("select missing from t", SqlState::UNDEFINED_COLUMN),
        ("select \"missing\" from t", SqlState::UNDEFINED_COLUMN),
        ("select missing(1)", SqlState::UNDEFINED_FUNCTION),
        ("insert into t values (null)", SqlState::NOT_NULL_VIOLATION),
        ("create table t (a int)", SqlState::DUPLICATE_TABLE),
        ("show nonsense", SqlState::UNDEFINED_OBJECT),
        ("set nonsense = 1", SqlState::UNDEFINED_OBJECT),
        ("copy t from stdin", SqlState::FEATURE_NOT_SUPPORTED),
        ("listen a", SqlState::FEATURE_NOT_SUPPORTED),
        ("pragma user_version", SqlState::FEATURE_NOT_SUPPORTED),
        ("deallocate missing", SqlState::INVALID_SQL_STATEMENT_NAME),
        ("savepoint s", SqlState::NO_ACTIVE_SQL_TRANSACTION),
    ] {
        let simple = client.simple_query(sql).await;
        assert_eq!(code(simple), Some(state.clone()), "{sql}");
        let extended = client.query(sql, &[]).await;
        assert_eq!(code(extended), Some(state), "{sql}");
    }
    assert_eq!(client.query_one("select 1", &[]).await?.get::<_, i32>(0), 1);
    Ok(())
}

#[tokio::test]
async fn discard_all_forgets_the_session() -> Outcome {
    let azure = azure().await?;
    let client = client(&azure).await?;
    client
        .batch_execute("set application_name = 'mine'; set statement_timeout = '5s'")
        .await?;
    client
        .batch_execute("create temp table scratch (a int)")
        .await?;
    let statement = client.prepare("select 1").await?;
    let show = async |name: &str| {
        let row = client.query_one(&format!("show {name}"), &[]).await?;
        anyhow::Ok(row.get::<_, String>(0))
    };
    assert_eq!(show("statement_timeout").await?, "5s");
    assert_eq!(show("application_name").await?, "mine");
    client.batch_execute("discard all").await?;
    assert_eq!(show("statement_timeout").await?, "0");
    assert_eq!(show("application_name").await?, "");
    assert_eq!(
        code(client.query(&statement, &[]).await),
        Some(SqlState::INVALID_SQL_STATEMENT_NAME)
    );
    assert_eq!(
        code(client.query("select * from scratch", &[]).await),
        Some(SqlState::UNDEFINED_TABLE)
    );
    Ok(())
}

#[tokio::test]
async fn settings_follow_their_transaction() -> Outcome {
    let azure = azure().await?;
    let client = client(&azure).await?;
    let show = async |name: &str| {
        let row = client.query_one(&format!("show {name}"), &[]).await?;
        anyhow::Ok(row.get::<_, String>(0))
    };
    let set = r"select pg_catalog.set_config(E'app.user',E'o''b',false),set_config('TimeZone','Asia/Tokyo',false)";
    let row = client.query_one(set, &[]).await?;
    assert_eq!((row.get(0), row.get(1)), ("o'b", "Asia/Tokyo"));
    client.simple_query(set).await?;
    assert_eq!(show("app.user").await?, "o'b");
    client
        .batch_execute("begin; set app.user = 'x'; rollback")
        .await?;
    assert_eq!(show("app.user").await?, "o'b");
    let outcome = client
        .batch_execute("set app.user = 'x'; select missing")
        .await;
    assert_eq!(code(outcome), Some(SqlState::UNDEFINED_COLUMN));
    assert_eq!(show("app.user").await?, "o'b");
    client
        .batch_execute("begin; set app.user = 'y'; commit")
        .await?;
    assert_eq!(show("app.user").await?, "y");
    client.batch_execute(r#"reset "app"."user""#).await?;
    assert_eq!(
        code(client.query("show app.user", &[]).await),
        Some(SqlState::UNDEFINED_OBJECT)
    );
    Ok(())
}

#[tokio::test]
async fn portals_give_rows_in_parts() -> Outcome {
    let azure = azure().await?;
    let mut client = client(&azure).await?;
    client
        .batch_execute("create table t (a int); insert into t values (1), (2), (3)")
        .await?;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("select a from t order by a", &[]).await?;
    assert_eq!(transaction.query_portal(&portal, 2).await?.len(), 2);
    assert_eq!(transaction.query_portal(&portal, 2).await?.len(), 1);
    transaction.commit().await?;
    Ok(())
}

#[tokio::test]
async fn sessions_end_when_the_server_does() -> Outcome {
    let azure = azure().await?;
    let address = azure.postgres_addr();
    let client = client(&azure).await?;
    drop(azure);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(client.query("select 1", &[]).await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
    Ok(())
}
