//! Errors: numbers, classes, what they end, TRY and CATCH.

use crate::client::Client;
use crate::server::plain_pair;

type Outcome = anyhow::Result<()>;

#[tokio::test]
async fn errors_have_sql_servers_numbers() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int primary key, b nvarchar(3) not null, c int unique)")
        .await?;
    client.ok("insert t values (1, 'x', 1)").await?;
    client.ok("create unique index u on t (b)").await?;
    for (sql, number, class) in [
        ("selec 1", 2812, 16),
        ("select from", 102, 15),
        ("select 1 +", 102, 15),
        ("select 'open", 105, 15),
        ("select * from missing", 208, 16),
        ("select missing from t", 207, 16),
        ("select @missing", 137, 15),
        ("select nothing(1)", 195, 15),
        ("insert t values (1, 'y', 2)", 2627, 14),
        ("insert t values (2, 'y', 1)", 2627, 14),
        ("insert t values (2, 'x', 2)", 2601, 14),
        ("insert t values (2, null, 2)", 515, 16),
        ("insert t values (2, 'long', 2)", 2628, 16),
        ("insert t values (2)", 213, 16),
        ("insert t values ('x', 'y', 3)", 245, 16),
        ("declare @b varbinary(9) select 1 + 'a'", 245, 16),
        ("select cast('a' as int)", 245, 16),
        ("select cast(3000000000 as int)", 8115, 16),
        ("select cast('x' as datetime)", 241, 16),
        ("select 1 / 0", 8134, 16),
        ("create table t (a int)", 2714, 16),
        ("drop table missing", 3701, 11),
        ("raiserror('mine %s %d', 16, 3, 'a', 5)", 50_000, 16),
        ("throw 50123, 'thrown', 1", 50_123, 16),
        ("set nonsense on", 195, 15),
        ("use nowhere", 911, 16),
        ("commit", 3902, 16),
        ("rollback", 3903, 16),
        ("execute as user = 'nobody'", 15_517, 16),
        ("declare @a int declare @a int", 134, 15),
    ] {
        let errors = client.batch(sql).await?.errors();
        assert_eq!(errors, [(number, class)], "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_known_is_an_error_and_nothing_happens() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    for sql in [
        "merge t using t s on 1 = 1 when matched then delete;",
        "grant select on t to public",
        "create view v as select 1 a",
        "alter table t add b int",
        "backup database appdb to disk = 'x'",
        "select a from t for xml auto",
        "select top 1 with ties a from t order by a",
        "update t set a = 1 from t",
        "insert t exec sp_who",
        "select * from t cross apply f(1) x",
        "declare @t table (a int)",
        "begin distributed tran",
        "set showplan_text on",
        "dbcc checkdb",
        "kill 55",
    ] {
        let answer = client.batch(sql).await?;
        assert_eq!(
            answer.errors().first().map(|error| error.1),
            Some(16),
            "{sql}"
        );
        let dones = answer.dones();
        assert_eq!(
            dones.last().map(|done| done.1 & 3),
            Some(2),
            "{sql}: {dones:?}"
        );
    }
    client.ok("select * from t").await?;
    Ok(())
}

#[tokio::test]
async fn statement_errors_go_on_and_batch_errors_do_not() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int primary key) insert t values (1)")
        .await?;
    // The statement alone.
    let answer = client
        .batch("insert t values (1) insert t values (2)")
        .await?;
    assert_eq!(answer.errors(), [(2627, 14)]);
    assert_eq!(answer.dones(), [(0xfd, 3, 0), (0xfd, 0x10, 1)]);
    assert_eq!(client.value("select @@error").await?.as_deref(), Some("0"));
    // The batch.
    for sql in [
        "select cast('x' as int)",
        "select * from missing",
        "throw 50001, 'x', 1",
    ] {
        let answer = client.batch(&format!("{sql}; insert t values (9)")).await?;
        assert_eq!(answer.errors().len(), 1);
        assert_eq!(
            answer.dones().last().map(|done| done.1 & 3),
            Some(2),
            "{sql}"
        );
    }
    // Bad syntax anywhere: nothing runs.
    let answer = client.batch("insert t values (9) begin select 1").await?;
    assert_eq!(answer.errors(), [(102, 15)]);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("2")
    );
    let answer = client.batch("insert t values (1) select @@error").await?;
    assert_eq!(answer.rows(), [[Some("2627".to_owned())]]);
    Ok(())
}

#[tokio::test]
async fn catch_gets_errors_and_throw_passes_them_on() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let answer = client
        .ok("begin try select 1 / 0 end try begin catch \
             select error_number(), error_message(), error_severity(), error_state() end catch")
        .await?;
    let row = answer.rows().pop().unwrap();
    let shown: Vec<&str> = row.iter().flatten().map(String::as_str).collect();
    assert_eq!(
        shown,
        ["8134", "Divide by zero error encountered.", "16", "1"]
    );
    let answer = client
        .batch(
            "begin try exec('select * from missing') end try begin catch throw end catch select 1",
        )
        .await?;
    assert_eq!(answer.errors(), [(208, 16)]);
    assert!(answer.rows().is_empty());
    let nested = "begin try begin try throw 50001, 'in', 1 end try begin catch \
                  throw 50002, 'out', 1 end catch end try begin catch select error_number() end catch";
    assert_eq!(client.value(nested).await?.as_deref(), Some("50002"));
    // Low severities are messages, and for nobody to catch.
    let answer = client
        .ok("begin try raiserror('note', 10, 1) select 1 end try begin catch select 2 end catch")
        .await?;
    assert_eq!(answer.rows(), [[Some("1".to_owned())]]);
    Ok(())
}

#[tokio::test]
async fn severe_errors_end_the_connection() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let answer = client
        .batch("raiserror('end', 20, 1) with log select 1")
        .await?;
    assert_eq!(answer.errors(), [(50_000, 20)]);
    assert!(client.is_closed().await);
    let (server, mut client) = plain_pair().await?;
    server.fail_statement(40_501);
    assert_eq!(client.batch("select 1").await?.errors(), [(40_501, 20)]);
    assert!(client.is_closed().await);
    Ok(())
}

#[tokio::test]
async fn no_text_breaks_the_server() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let nots = format!("select 1 where {} 1 = 1", "not ".repeat(5_000));
    let minus = format!("select {}1", "- ".repeat(5_000));
    let blocks = format!(
        "{} select 1 {}",
        "begin ".repeat(5_000),
        "end ".repeat(5_000)
    );
    let queries = format!(
        "select 1 where 1 in {}",
        "(select 1 where 1 in ".repeat(2_000)
    );
    let joins = format!("select 1 from {}", "(".repeat(5_000));
    for sql in [deep, nots, minus, blocks, queries, joins] {
        assert!(
            !client.batch(&sql).await?.errors().is_empty(),
            "{}",
            &sql[..40]
        );
    }
    recursion(&mut client).await
}

async fn recursion(client: &mut Client) -> Outcome {
    client.ok("create procedure again as exec again").await?;
    assert_eq!(client.batch("exec again").await?.errors(), [(217, 16)]);
    for sql in [
        "",
        ";",
        " -- nothing",
        "select",
        "[",
        "0x",
        "@",
        "'",
        "\u{1F600}",
        "exec",
        "set",
        "fetch",
        "declare",
        "create table",
        "insert",
        "if",
        "with",
        "raiserror(",
        "throw 1",
        "select 1 as",
        "select * from",
        "waitfor",
        "use",
        "insert bulk t",
    ] {
        client.batch(sql).await?;
    }
    client.ok("select 1").await?;
    Ok(())
}
