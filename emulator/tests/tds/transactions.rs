//! Transactions: descriptors, counts, savepoints, isolation, locks.

use std::time::Duration;

use entrapool_emulator::tds::{IsolationOnReset, Profile};

use crate::client::{Client, Login};
use crate::server::{plain, plain_pair};

type Outcome = anyhow::Result<()>;

const NONE: [u8; 0] = [];

#[tokio::test]
async fn descriptors_follow_the_outermost_transaction() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    assert_eq!(client.ok("insert t values (0)").await?.env(), NONE);
    assert_eq!(client.ok("begin tran").await?.env(), [8]);
    let first = client.descriptor;
    assert_eq!(
        client
            .ok("begin transaction insert t values (1)")
            .await?
            .env(),
        NONE
    );
    assert_eq!(
        client.value("select @@trancount").await?.as_deref(),
        Some("2")
    );
    assert_eq!(client.ok("commit").await?.env(), NONE);
    assert_eq!(
        client
            .ok("save tran s insert t values (2) rollback tran s")
            .await?
            .env(),
        NONE
    );
    assert_eq!(client.ok("commit").await?.env(), [9]);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("2")
    );
    assert_eq!(client.ok("begin tran delete t").await?.env(), [8]);
    assert_ne!(client.descriptor, first);
    assert_eq!(client.ok("begin tran rollback").await?.env(), [10]);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("2")
    );
    assert_eq!(
        client
            .ok("begin tran commit begin tran commit")
            .await?
            .env(),
        [8, 9, 8, 9]
    );
    assert_eq!(server.counters().begins(), 4);
    assert_eq!(server.counters().commits(), 3);
    assert_eq!(server.counters().rollbacks(), 1);
    Ok(())
}

#[tokio::test]
async fn requests_begin_commit_save_and_roll_back() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    assert_eq!(client.transaction(&[5, 0, 4, 0]).await?.env(), [8]);
    let level = "select transaction_isolation_level from sys.dm_exec_sessions \
                 where session_id = @@spid";
    assert_eq!(client.value(level).await?.as_deref(), Some("4"));
    client.ok("insert t values (1)").await?;
    // Savepoint "s", rolled back to.
    assert_eq!(client.transaction(&[9, 0, 2, 0x73, 0]).await?.errors(), []);
    client.ok("insert t values (2)").await?;
    assert_eq!(
        client.transaction(&[8, 0, 2, 0x73, 0, 0]).await?.env(),
        NONE
    );
    // Commit, and begin again at once.
    assert_eq!(client.transaction(&[7, 0, 0, 1, 2, 0]).await?.env(), [9, 8]);
    assert_eq!(client.value(level).await?.as_deref(), Some("2"));
    client.ok("delete t").await?;
    assert_eq!(client.transaction(&[8, 0, 0, 0]).await?.env(), [10]);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    assert_eq!(
        client.transaction(&[7, 0, 0, 0]).await?.errors(),
        [(3902, 16)]
    );
    for number in [0, 1, 6, 77] {
        assert_eq!(
            client.transaction(&[number, 0, 0, 0]).await?.errors(),
            [(40_000, 16)]
        );
    }
    Ok(())
}

#[tokio::test]
async fn implicit_transactions_begin_with_data() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    assert_eq!(
        client
            .ok("set implicit_transactions on select @@trancount")
            .await?
            .env(),
        NONE
    );
    assert_eq!(client.ok("select * from sys.objects").await?.env(), [8]);
    assert_eq!(
        client.ok("if @@trancount > 0 commit tran").await?.env(),
        [9]
    );
    assert_eq!(client.ok("create table t (a int)").await?.env(), [8]);
    assert_eq!(client.ok("insert t values (1)").await?.env(), NONE);
    assert_eq!(client.ok("rollback").await?.env(), [10]);
    assert_eq!(
        client.ok("set implicit_transactions off").await?.env(),
        NONE
    );
    assert_eq!(client.batch("select * from t").await?.errors(), [(208, 16)]);
    Ok(())
}

#[tokio::test]
async fn readers_see_committed_rows_only() -> Outcome {
    let (server, mut writer) = plain_pair().await?;
    let mut reader = Client::open(&server, &Login::sa()).await?;
    writer
        .ok("create table t (a int) insert t values (1)")
        .await?;
    let count = "select count(*) from t";
    writer.ok("begin tran insert t values (2)").await?;
    reader.ok("begin tran").await?;
    assert_eq!(reader.value(count).await?.as_deref(), Some("1"));
    assert_eq!(writer.value(count).await?.as_deref(), Some("2"));
    writer.ok("commit").await?;
    // READ COMMITTED: the same transaction sees it now.
    assert_eq!(reader.value(count).await?.as_deref(), Some("2"));
    reader.ok("insert t values (3) commit").await?;
    // SNAPSHOT does not, and may not change what has changed.
    reader
        .ok("set transaction isolation level snapshot begin tran")
        .await?;
    assert_eq!(reader.value(count).await?.as_deref(), Some("3"));
    writer.ok("insert t values (4)").await?;
    assert_eq!(reader.value(count).await?.as_deref(), Some("3"));
    let answer = reader.batch("delete t").await?;
    assert_eq!(answer.errors(), [(3960, 16)]);
    assert_eq!(answer.env(), [10]);
    Ok(())
}

#[tokio::test]
async fn writers_wait_and_time_out() -> Outcome {
    let (server, mut holder) = plain_pair().await?;
    let mut waiter = Client::open(&server, &Login::sa()).await?;
    holder.ok("create table t (a int)").await?;
    holder.ok("begin tran insert t values (1)").await?;
    waiter.ok("set lock_timeout 50").await?;
    let answer = waiter.batch("insert t values (2) select 5").await?;
    assert_eq!(answer.errors(), [(1222, 16)]);
    // The statement alone has failed.
    assert_eq!(answer.rows(), [[Some("5".to_owned())]]);
    waiter.ok("set lock_timeout -1").await?;
    waiter.start(0, "insert t values (2)").await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    holder.ok("commit").await?;
    assert_eq!(waiter.answer().await?.errors(), []);
    assert_eq!(
        holder.value("select count(*) from t").await?.as_deref(),
        Some("2")
    );
    // Another database is another lock.
    holder.ok("begin tran insert t values (3)").await?;
    waiter
        .ok("set lock_timeout 0 use otherdb create table o (a int) insert o values (1)")
        .await?;
    Ok(())
}

#[tokio::test]
async fn xact_abort_dooms_and_rolls_back() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int primary key) insert t values (1)")
        .await?;
    client.ok("set xact_abort on").await?;
    let answer = client
        .batch("begin tran insert t values (2) insert t values (1) select 1")
        .await?;
    assert_eq!(answer.errors(), [(2627, 14)]);
    assert_eq!(answer.env(), [8, 10]);
    assert!(answer.rows().is_empty());
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    let caught = "begin tran begin try insert t values (1) end try begin catch \
                  select xact_state() end catch";
    let answer = client.batch(caught).await?;
    assert_eq!(answer.rows(), [[Some("-1".to_owned())]]);
    // Left so at the end of the batch.
    assert_eq!(answer.errors(), [(3998, 16)]);
    assert_eq!(answer.env(), [8, 10]);
    let answer = client
        .batch("begin tran begin try insert t values (1) end try begin catch commit end catch")
        .await?;
    assert_eq!(answer.errors().first(), Some(&(3930, 16)));
    assert_eq!(
        client.value("select @@trancount").await?.as_deref(),
        Some("0")
    );
    Ok(())
}

#[tokio::test]
async fn deadlock_victims_are_rolled_back() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    client.ok("begin tran insert t values (1)").await?;
    server.fail_statement(1205);
    let answer = client.batch("insert t values (2) select 1").await?;
    assert_eq!(answer.errors(), [(1205, 13)]);
    assert_eq!(answer.env(), [10]);
    assert!(answer.rows().is_empty());
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("0")
    );
    Ok(())
}

#[tokio::test]
async fn a_bare_server_is_silent_about_transactions_in_text() -> Outcome {
    let server = plain().profile(Profile::Bare).start().await?;
    let mut client = Client::open(&server, &Login::sa()).await?;
    client.ok("create table t (a int)").await?;
    assert_eq!(
        client.ok("begin tran insert t values (1)").await?.env(),
        NONE
    );
    assert_eq!(
        client.value("select @@trancount").await?.as_deref(),
        Some("1")
    );
    assert_eq!(client.ok("rollback").await?.env(), NONE);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("0")
    );
    assert_eq!(client.transaction(&[5, 0, 0, 0]).await?.env(), [8]);
    assert_eq!(client.transaction(&[7, 0, 0, 0]).await?.env(), [9]);
    Ok(())
}

#[tokio::test]
async fn a_7_1_session_gives_no_sign_of_transactions() -> Outcome {
    let server = plain()
        .isolation_on_reset(IsolationOnReset::Kept)
        .start()
        .await?;
    let old = Login {
        version: 0x7100_0001,
        ..Login::sa()
    };
    let mut client = Client::open(&server, &old).await?;
    client.ok("create table t (a int)").await?;
    assert_eq!(
        client.ok("begin tran insert t values (1)").await?.env(),
        NONE
    );
    assert_eq!(client.ok("commit").await?.env(), NONE);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    Ok(())
}
