//! The same server through tiberius, which knows nothing of us.

use entrapool_emulator::tds::TdsServer;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, numeric::Numeric};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::server::{Tenant, plain};

type Outcome = anyhow::Result<()>;

async fn connect(
    server: &TdsServer,
    login: AuthMethod,
) -> anyhow::Result<Client<Compat<TcpStream>>> {
    let mut config = Config::new();
    config.host(server.host());
    config.port(server.addr().port());
    config.database("appdb");
    config.authentication(login);
    config.encryption(EncryptionLevel::NotSupported);
    let stream = TcpStream::connect(server.addr()).await?;
    Ok(Client::connect(config, stream.compat_write()).await?)
}

async fn client(server: &TdsServer) -> anyhow::Result<Client<Compat<TcpStream>>> {
    connect(server, AuthMethod::sql_server("sa", "secret")).await
}

#[tokio::test]
async fn tiberius_logs_in_with_a_token() -> Outcome {
    let tenant = Tenant::new()?;
    let server = tenant.server().start().await?;
    let mut client = connect(&server, AuthMethod::aad_token(tenant.token()?)).await?;
    let row = client
        .simple_query("select suser_sname(), db_name()")
        .await?
        .into_row()
        .await?;
    let row = row.unwrap();
    assert_eq!(row.get::<&str, _>(0), Some("my-vm"));
    assert_eq!(row.get::<&str, _>(1), Some("appdb"));
    assert!(
        connect(&server, AuthMethod::aad_token("nonsense"))
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn tiberius_moves_typed_values() -> Outcome {
    let server = plain().start().await?;
    let mut client = client(&server).await?;
    client
        .execute(
            "create table t (id int identity primary key, a int, b bigint, c nvarchar(max), \
             d float, e bit, f varbinary(max), g decimal(18,2))",
            &[],
        )
        .await?;
    let bytes: &[u8] = &[0, 1, 255];
    let long = "ß".repeat(10_000);
    let insert = "insert into t (a, b, c, d, e, f, g) values (@P1, @P2, @P3, @P4, @P5, @P6, @P7)";
    let done = client
        .execute(
            insert,
            &[
                &7_i32,
                &i64::MAX,
                &long.as_str(),
                &1.5_f64,
                &true,
                &bytes,
                &Numeric::new_with_scale(12_345, 2),
            ],
        )
        .await?;
    assert_eq!(done.total(), 1);
    let nothing: Option<i32> = None;
    let none_text: Option<&str> = None;
    client
        .execute(
            "insert into t (a, c) values (@P1, @P2)",
            &[&nothing, &none_text],
        )
        .await?;
    let rows = client
        .query("select * from t where id >= @P1 order by id", &[&1_i32])
        .await?
        .into_first_result()
        .await?;
    assert_eq!(rows.len(), 2);
    let row = &rows[0];
    assert_eq!(row.get::<i32, _>("a"), Some(7));
    assert_eq!(row.get::<i64, _>("b"), Some(i64::MAX));
    assert_eq!(row.get::<&str, _>("c"), Some(long.as_str()));
    assert_eq!(row.get::<f64, _>("d"), Some(1.5));
    assert_eq!(row.get::<bool, _>("e"), Some(true));
    assert_eq!(row.get::<&[u8], _>("f"), Some(bytes));
    assert_eq!(
        row.get::<Numeric, _>("g"),
        Some(Numeric::new_with_scale(12_345, 2))
    );
    assert_eq!(rows[1].get::<i32, _>("a"), None);
    assert_eq!(rows[1].get::<&str, _>("c"), None);
    Ok(())
}

#[tokio::test]
async fn tiberius_sees_errors_and_goes_on() -> Outcome {
    let server = plain().start().await?;
    let mut client = client(&server).await?;
    let Err(error) = client.execute("select * from missing", &[]).await else {
        anyhow::bail!("no error");
    };
    assert_eq!(error.code(), Some(208));
    let results = client
        .simple_query("select 1 select 2, 3")
        .await?
        .into_results()
        .await?;
    assert_eq!(results.len(), 2);
    assert_eq!(results[1][0].get::<i32, _>(1), Some(3));
    Ok(())
}

#[tokio::test]
async fn tiberius_keeps_transactions() -> Outcome {
    let server = plain().start().await?;
    let mut client = client(&server).await?;
    client
        .simple_query("create table t (a int)")
        .await?
        .into_results()
        .await?;
    client
        .simple_query("begin tran")
        .await?
        .into_results()
        .await?;
    client.execute("insert t values (@P1)", &[&1_i32]).await?;
    client
        .simple_query("rollback")
        .await?
        .into_results()
        .await?;
    let row = client
        .query("select count(*) from t", &[])
        .await?
        .into_row()
        .await?
        .unwrap();
    assert_eq!(row.get::<i32, _>(0), Some(0));
    Ok(())
}

#[tokio::test]
async fn tiberius_loads_in_bulk() -> Outcome {
    let server = plain().start().await?;
    let mut client = client(&server).await?;
    client
        .simple_query("create table t (a int not null)")
        .await?
        .into_results()
        .await?;
    let mut load = client.bulk_insert("t").await?;
    for number in 0..1_000_i32 {
        let mut row = tiberius::TokenRow::new();
        row.push(tiberius::IntoSql::into_sql(number));
        load.send(row).await?;
    }
    assert_eq!(load.finalize().await?.total(), 1_000);
    Ok(())
}
