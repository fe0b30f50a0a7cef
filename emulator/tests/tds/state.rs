//! SESSIONSTATE: when it comes, where it stands, what it says.

use entrapool_emulator::tds::Profile;

use crate::answer::Token;
use crate::client::{Client, Login, int, numbered, text};
use crate::server::{plain, plain_pair};

type Outcome = anyhow::Result<()>;

async fn tracked() -> anyhow::Result<(entrapool_emulator::tds::TdsServer, Client)> {
    let server = plain().start().await?;
    let client = Client::open(&server, &Login::sa().with(1, &[])).await?;
    Ok((server, client))
}

#[tokio::test]
async fn changes_are_told_directly_before_the_last_done() -> Outcome {
    let (server, mut client) = tracked().await?;
    assert_eq!(client.ok("select 1").await?.states(), []);
    let answer = client.ok("set lock_timeout 5 select 1").await?;
    assert_eq!(answer.states(), [(true, vec![6])]);
    let at = answer.tokens.len() - 2;
    assert!(matches!(
        answer.tokens[at],
        Token::State { sequence: 0, .. }
    ));
    // Only when something has changed.
    assert_eq!(client.ok("set lock_timeout 5").await?.states(), []);
    let answer = client.ok("set lock_timeout 6").await?;
    assert!(
        answer
            .tokens
            .iter()
            .any(|token| matches!(token, Token::State { sequence: 1, .. }))
    );
    // In an RPC it stands before DONEPROC; SET inside of one ends with it.
    let call = numbered(10, &[text("", "set context_info 0x01 set lock_timeout 9")]);
    let answer = client.call(&call).await?;
    assert_eq!(answer.states(), [(true, vec![8])]);
    assert!(matches!(
        answer.tokens[answer.tokens.len() - 2],
        Token::State { .. }
    ));
    assert_eq!(server.counters().session_states(), 3);
    Ok(())
}

#[tokio::test]
async fn every_kept_state_has_its_id() -> Outcome {
    let (_server, mut client) = tracked().await?;
    for (sql, id) in [
        ("set arithabort on", 0),
        ("set transaction isolation level serializable", 2),
        ("use otherdb", 4),
        ("set language German", 5),
        ("set lock_timeout 1", 6),
        ("set textsize 100", 7),
        ("set context_info 0x02", 8),
        ("exec sp_set_session_context 'k', 'v'", 9),
    ] {
        assert_eq!(client.ok(sql).await?.states(), [(true, vec![id])], "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_recovered_says_so_until_it_is_gone() -> Outcome {
    let (_server, mut client) = tracked().await?;
    for (begin, end, id) in [
        ("create table #t (a int)", "drop table #t", 10),
        ("create table ##t (a int)", "drop table ##t", 10),
        ("declare c cursor for select 1", "deallocate c", 11),
        (
            "exec sp_getapplock 'r', 'Shared', 'Session'",
            "exec sp_releaseapplock 'r', 'Session'",
            12,
        ),
        ("execute as user = 'guest'", "revert", 13),
        ("dbcc traceon(1)", "dbcc traceoff(1)", 14),
    ] {
        assert_eq!(
            client.ok(begin).await?.states(),
            [(false, vec![id])],
            "{begin}"
        );
        assert_eq!(client.ok("select 1").await?.states(), []);
        assert_eq!(client.ok(end).await?.states(), [(true, vec![id])], "{end}");
    }
    let open = numbered(
        2,
        &[
            int("", None, true),
            text("", "select 1 as a"),
            int("", Some(8), true),
            int("", Some(1), true),
            int("", None, true),
        ],
    );
    assert_eq!(client.call(&open).await?.states(), [(false, vec![11])]);
    Ok(())
}

#[tokio::test]
async fn a_reset_sets_the_trackers_back() -> Outcome {
    let (_server, mut client) = tracked().await?;
    client
        .ok("create table #t (a int) set lock_timeout 5 use otherdb")
        .await?;
    // Back at the baseline: nothing is told.
    assert_eq!(client.batch_with(8, "select 1").await?.states(), []);
    assert_eq!(
        client.ok("set lock_timeout 5").await?.states(),
        [(true, vec![6])]
    );
    Ok(())
}

#[tokio::test]
async fn without_the_feature_nothing_is_told() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    assert_eq!(
        client
            .ok("set lock_timeout 5 create table #t (a int)")
            .await?
            .states(),
        []
    );
    assert_eq!(server.counters().session_states(), 0);
    let bare = plain().profile(Profile::Bare).start().await?;
    let mut client = Client::open(&bare, &Login::sa().with(1, &[])).await?;
    assert_eq!(
        client
            .ok("set lock_timeout 5 create table #t (a int)")
            .await?
            .states(),
        []
    );
    Ok(())
}
