//! What a session keeps between requests, and what RESETCONNECTION takes away.

use std::time::Duration;

use entrapool_emulator::tds::IsolationOnReset;

use crate::answer::Token;
use crate::client::{Client, Login, RPC, int, named, numbered, text};
use crate::server::{Tenant, plain, plain_pair};

type Outcome = anyhow::Result<()>;

const RESET: u8 = 0x08;
const KEEPING: u8 = 0x10;
const ISOLATION: &str =
    "select transaction_isolation_level from sys.dm_exec_sessions where session_id = @@spid";

#[tokio::test]
async fn options_stay_until_they_are_reset() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let shown = "select ansi_nulls, quoted_identifier, arithabort, date_first, date_format, \
                 language, lock_timeout, text_size from sys.dm_exec_sessions \
                 where session_id = @@spid";
    let texts = |rows: Vec<Vec<Option<String>>>| -> Vec<String> {
        rows.into_iter().flatten().flatten().collect()
    };
    let before = texts(client.ok(shown).await?.rows());
    assert_eq!(
        before,
        ["1", "1", "0", "7", "mdy", "us_english", "-1", "2147483647"]
    );
    let answer = client
        .ok(
            "set ansi_nulls, arithabort off set arithabort on set quoted_identifier off \
             set language German set lock_timeout 500 set textsize 1000 set dateformat ymd",
        )
        .await?;
    assert_eq!(answer.env(), [2]);
    let after = texts(client.ok(shown).await?.rows());
    assert_eq!(after, ["0", "0", "1", "1", "ymd", "Deutsch", "500", "1000"]);
    // Double quotes are texts now.
    assert_eq!(client.value("select \"x\"").await?.as_deref(), Some("x"));
    let reset = client.batch_with(RESET, shown).await?;
    assert_eq!(texts(reset.rows()), before);
    // No sign but the acknowledgement.
    assert_eq!(reset.env(), [18]);
    Ok(())
}

#[tokio::test]
async fn databases_go_back_without_a_word() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let answer = client.ok("use otherdb").await?;
    assert_eq!(answer.env(), [1]);
    assert!(
        answer
            .tokens
            .iter()
            .any(|token| matches!(token, Token::Info(i) if i.number == 5701))
    );
    assert_eq!(
        client.value("select db_name()").await?.as_deref(),
        Some("otherdb")
    );
    let answer = client.batch_with(RESET, "select db_name()").await?;
    assert_eq!(answer.rows(), [[Some("appdb".to_owned())]]);
    assert_eq!(answer.env(), [18]);
    // The acknowledgement comes first, with both values empty.
    assert_eq!(answer.tokens[0], Token::Env(18, vec![], vec![]));
    Ok(())
}

#[tokio::test]
async fn everything_but_identity_and_role_is_reset() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int identity primary key, b int)")
        .await?;
    let prepare = [int("", None, true), text("", ""), text("", "select 1")];
    client.call(&numbered(11, &prepare)).await?;
    client
        .ok(
            "begin tran insert t values (1) create table #x (a int) set context_info 0x01 \
             exec sp_set_session_context 'k', 'v' exec sp_getapplock 'r', 'Exclusive', 'Session' \
             dbcc traceon(3604) declare c cursor for select 1 open c execute as user = 'guest'",
        )
        .await?;
    let state = "select @@trancount, context_info(), session_context(N'k'), suser_sname(), \
                 cursor_status('global', 'c'), applock_mode('public', 'r', 'Session'), @@identity";
    let texts = |rows: Vec<Vec<Option<String>>>| -> Vec<String> {
        let row = rows.into_iter().next().unwrap();
        row.into_iter()
            .map(|value| value.unwrap_or_else(|| "-".to_owned()))
            .collect()
    };
    let before = texts(client.ok(state).await?.rows());
    assert_eq!(before[0], "1");
    assert!(before[1].starts_with("0100"));
    assert_eq!(before[2..], ["v", "guest", "1", "Exclusive", "1"]);
    let after = client.batch_with(RESET, state).await?;
    assert_eq!(
        texts(after.rows()),
        ["0", "-", "-", "sa", "-3", "NoLock", "-"]
    );
    assert_eq!(after.env(), [18]);
    assert_eq!(
        client.batch("select * from #x").await?.errors(),
        [(208, 16)]
    );
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("0")
    );
    let execute = numbered(12, &[int("", Some(1), false)]);
    assert_eq!(client.call(&execute).await?.errors(), [(8179, 16)]);
    assert_eq!(server.counters().resets(), 1);
    // An application role is for ever.
    client
        .ok("exec sp_setapprole 'approle', 'role-secret'")
        .await?;
    let user = client.batch_with(RESET, "select user_name()").await?;
    assert_eq!(user.rows(), [[Some("approle".to_owned())]]);
    assert_eq!(
        client
            .batch("exec sp_setapprole 'approle', 'wrong'")
            .await?
            .errors(),
        [(2762, 16)]
    );
    Ok(())
}

#[tokio::test]
async fn skiptran_keeps_the_transaction() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    client
        .ok("begin tran insert t values (1) set lock_timeout 5")
        .await?;
    let own = client.descriptor;
    let answer = client
        .batch_with(KEEPING, "select @@trancount, @@lock_timeout")
        .await?;
    assert_eq!(
        answer.rows(),
        [[Some("1".to_owned()), Some("-1".to_owned())]]
    );
    assert_eq!(answer.env(), [18]);
    client.descriptor = own;
    client.ok("commit").await?;
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    assert_eq!(server.counters().resets_keeping_transaction(), 1);
    Ok(())
}

#[tokio::test]
async fn the_isolation_level_is_reset_on_azure_only() -> Outcome {
    for (on_reset, expected) in [
        (IsolationOnReset::SetBack, "2"),
        (IsolationOnReset::Kept, "4"),
    ] {
        let server = plain().isolation_on_reset(on_reset).start().await?;
        let mut client = Client::open(&server, &Login::sa()).await?;
        client
            .ok("set transaction isolation level serializable")
            .await?;
        let answer = client.batch_with(RESET, ISOLATION).await?;
        assert_eq!(answer.rows(), [[Some(expected.to_owned())]]);
    }
    Ok(())
}

#[tokio::test]
async fn resets_come_with_every_kind_of_request() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    let call = [
        client.headers(),
        named("sp_executesql", &[text("", "select 1")]),
    ]
    .concat();
    client.send_with(RPC, RESET, &call).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.env(), [18]);
    assert_eq!(answer.rows().len(), 1);
    let begin = [client.headers(), vec![5, 0, 0, 0]].concat();
    client.send_with(14, RESET, &begin).await?;
    assert_eq!(client.answer().await?.env(), [18, 8]);
    let answer = client.call(&named("sp_reset_connection", &[])).await?;
    assert_eq!(answer.env(), [18]);
    assert_eq!(
        client.value("select @@trancount").await?.as_deref(),
        Some("0")
    );
    assert_eq!(server.counters().resets(), 3);
    Ok(())
}

#[tokio::test]
async fn old_connections_have_their_token_checked_at_a_reset() -> Outcome {
    let tenant = Tenant::new()?;
    tenant.issuer.set_life(Duration::from_secs(2));
    let server = tenant
        .server()
        .revalidate_after(Duration::ZERO)
        .start()
        .await?;
    let mut client = Client::open(&server, &Login::token(&tenant.token()?, true)).await?;
    let answer = client.batch_with(RESET, "select 1").await?;
    assert_eq!(answer.errors(), []);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    // An open session goes on with an expired token.
    client.ok("select 1").await?;
    let answer = client.batch_with(RESET, "select 1").await?;
    assert_eq!(answer.errors(), [(18_456, 14)]);
    assert!(answer.reports()[0].text.ends_with("Token is expired."));
    assert!(client.is_closed().await);
    Ok(())
}

#[tokio::test]
async fn modules_put_back_what_they_set() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok(
            "exec('set lock_timeout 77 set transaction isolation level serializable use otherdb \
             execute as user = ''guest'' set context_info 0x05 begin tran')",
        )
        .await?;
    let answer = client
        .ok("select @@lock_timeout, db_name(), suser_sname(), @@trancount, left(context_info(), 1)")
        .await?;
    let row: Vec<String> = answer.rows().remove(0).into_iter().flatten().collect();
    assert_eq!(row[..4], ["-1", "appdb", "sa", "1"]);
    assert_eq!(client.value(ISOLATION).await?.as_deref(), Some("2"));
    assert!(client.value("select context_info()").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn application_locks_are_exclusive_across_sessions() -> Outcome {
    let (server, mut one) = plain_pair().await?;
    let mut two = Client::open(&server, &Login::sa()).await?;
    let get = |mode: &str, owner: &str, wait: i32| {
        format!(
            "declare @r int exec @r = sp_getapplock 'res', '{mode}', '{owner}', {wait} select @r"
        )
    };
    assert_eq!(
        one.value(&get("Exclusive", "Session", 0)).await?.as_deref(),
        Some("0")
    );
    assert_eq!(
        two.value(&get("Shared", "Session", 20)).await?.as_deref(),
        Some("-1")
    );
    two.start(0, &get("Exclusive", "Session", 5_000)).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    one.ok("exec sp_releaseapplock @Resource = 'res', @LockOwner = 'Session'")
        .await?;
    // Had after waiting.
    assert_eq!(two.answer().await?.rows(), [[Some("1".to_owned())]]);
    assert_eq!(
        one.batch("exec sp_releaseapplock 'res', 'Session'")
            .await?
            .errors(),
        [(1223, 16)]
    );
    drop(two);
    // Had at once, or after waiting for the other session's end.
    let got = one.value(&get("Exclusive", "Session", 5_000)).await?;
    assert!(matches!(got.as_deref(), Some("0" | "1")), "{got:?}");
    // A transaction's ends with it.
    one.ok("exec sp_releaseapplock 'res', 'Session'").await?;
    assert_eq!(
        one.batch(&get("Shared", "Transaction", 0)).await?.errors(),
        [(1232, 16)]
    );
    one.ok("begin tran exec sp_getapplock 'res', 'Exclusive'")
        .await?;
    let mut three = Client::open(&server, &Login::sa()).await?;
    assert_eq!(
        three.value(&get("Shared", "Session", 0)).await?.as_deref(),
        Some("-1")
    );
    one.ok("commit").await?;
    assert_eq!(
        three.value(&get("Shared", "Session", 0)).await?.as_deref(),
        Some("0")
    );
    assert_eq!(
        one.value(&get("Shared", "Session", 0)).await?.as_deref(),
        Some("0")
    );
    Ok(())
}

#[tokio::test]
async fn session_context_can_be_read_only() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("exec sp_set_session_context N'user', N'eve', @read_only = 1")
        .await?;
    let answer = client
        .batch("exec sp_set_session_context N'user', N'bob'")
        .await?;
    assert_eq!(answer.errors(), [(15_664, 16)]);
    assert_eq!(
        client
            .value("select session_context(N'user')")
            .await?
            .as_deref(),
        Some("eve")
    );
    Ok(())
}
