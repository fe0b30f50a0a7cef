//! RPC: sp_executesql, handles, cursors of the API, several calls in one message.

use crate::answer::{Answer, Token};
use crate::client::{Client, int, named, numbered, text};
use crate::server::plain_pair;

type Outcome = anyhow::Result<()>;

/// The first RETURNVALUE as a number.
fn handle(answer: &Answer) -> i32 {
    let value = answer.tokens.iter().find_map(|token| match token {
        Token::Value(_, Some(value)) => value.parse().ok(),
        _ => None,
    });
    value.unwrap()
}

fn prepexec(old: Option<i32>, value: i32) -> Vec<u8> {
    numbered(
        13,
        &[
            int("", old, true),
            text("", "@a int"),
            text("", "select @a + 1"),
            int("", Some(value), false),
        ],
    )
}

fn execute(handle: i32, value: i32) -> Vec<u8> {
    numbered(
        12,
        &[int("", Some(handle), false), int("", Some(value), false)],
    )
}

#[tokio::test]
async fn executesql_takes_parameters_and_gives_outputs() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let call = numbered(
        10,
        &[
            text("", "select @a as a, @t as t; set @o = @a * 2"),
            text("", "@a int, @t nvarchar(20), @o int output"),
            int("@a", Some(21), false),
            text("@t", "ä"),
            int("@o", None, true),
        ],
    );
    let answer = client.call(&call).await?;
    assert_eq!(answer.errors(), []);
    assert_eq!(
        answer.rows(),
        [[Some("21".to_owned()), Some("ä".to_owned())]]
    );
    // Rows end with DONEINPROC; RETURNSTATUS, RETURNVALUE and DONEPROC come last.
    let end = &answer.tokens[answer.tokens.len() - 4..];
    assert_eq!(
        end[0],
        Token::Done {
            kind: 0xff,
            status: 0x11,
            rows: 1
        }
    );
    assert_eq!(end[1], Token::Status(0));
    assert_eq!(end[2], Token::Value("@o".to_owned(), Some("42".to_owned())));
    assert_eq!(
        end[3],
        Token::Done {
            kind: 0xfe,
            status: 0,
            rows: 0
        }
    );
    let by_name = client
        .call(&named("[sys].sp_executesql", &[text("", "select 5")]))
        .await?;
    assert_eq!(by_name.rows(), [[Some("5".to_owned())]]);
    let missing = numbered(10, &[text("", "select @a"), text("", "@a int")]);
    let answer = client.call(&missing).await?;
    assert_eq!(answer.errors(), [(8178, 16)]);
    assert_eq!(answer.dones(), [(0xfe, 2, 0)]);
    Ok(())
}

#[tokio::test]
async fn handles_belong_to_a_connection() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    let prepared = client
        .call(&numbered(
            11,
            &[
                int("", None, true),
                text("", "@a int"),
                text("", "select @a * 2"),
                int("", Some(1), false),
            ],
        ))
        .await?;
    let first = handle(&prepared);
    assert_eq!(
        client.call(&execute(first, 4)).await?.rows(),
        [[Some("8".to_owned())]]
    );
    let second = client.call(&prepexec(None, 4)).await?;
    assert_eq!(second.rows(), [[Some("5".to_owned())]]);
    let second = handle(&second);
    assert_ne!(first, second);
    assert_eq!(server.sessions()[0].handles, 2);
    // An old handle that comes in is given up.
    let third = handle(&client.call(&prepexec(Some(second), 1)).await?);
    assert_eq!(
        client.call(&execute(second, 1)).await?.errors(),
        [(8179, 16)]
    );
    assert_eq!(
        client.call(&execute(third, 1)).await?.rows(),
        [[Some("2".to_owned())]]
    );
    let mut other = Client::open(&server, &crate::client::Login::sa()).await?;
    assert_eq!(other.call(&execute(third, 1)).await?.errors(), [(8179, 16)]);
    let unprepare = numbered(15, &[int("", Some(third), false)]);
    assert_eq!(client.call(&unprepare).await?.errors(), []);
    assert_eq!(client.call(&unprepare).await?.errors(), [(8179, 16)]);
    // By name, as FreeTDS does.
    let by_name = named(
        "sp_execute",
        &[int("", Some(first), false), int("", Some(3), false)],
    );
    assert_eq!(
        client.call(&by_name).await?.rows(),
        [[Some("6".to_owned())]]
    );
    let broken = numbered(11, &[int("", None, true), text("", ""), text("", "if")]);
    assert_eq!(client.call(&broken).await?.errors(), [(102, 15)]);
    Ok(())
}

#[tokio::test]
async fn several_calls_share_a_message() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let one = numbered(10, &[text("", "select 1")]);
    let bad = numbered(10, &[text("", "select 1/0")]);
    let two = numbered(10, &[text("", "select 2")]);
    let message = [one.clone(), vec![0xff], bad, vec![0xff], two].concat();
    let answer = client.call(&message).await?;
    let rows: Vec<_> = answer.rows().into_iter().flatten().flatten().collect();
    assert_eq!(rows, ["1", "2"]);
    assert_eq!(answer.errors(), [(8134, 16)]);
    let procs: Vec<u16> = answer
        .dones()
        .iter()
        .filter(|done| done.0 == 0xfe)
        .map(|done| done.1)
        .collect();
    assert_eq!(procs.len(), 3);
    // DONE_RPCINBATCH and DONE_MORE on all but the last.
    assert_eq!(procs[0] & 0x81, 0x81);
    assert_eq!(procs[1] & 0x81, 0x81);
    assert_eq!(procs[2], 0);
    // Behind 0xFE a call is not run.
    let skipped = [one.clone(), vec![0xfe], one].concat();
    assert_eq!(client.call(&skipped).await?.rows().len(), 1);
    Ok(())
}

#[tokio::test]
async fn api_cursors_open_fetch_and_close() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create table t (a int) insert t values (1), (2), (3), (4), (5)")
        .await?;
    let open = numbered(
        2,
        &[
            int("", None, true),
            text("", "select a from t where a > @p order by a"),
            int("", Some(0x1008), true),
            int("", Some(1), true),
            int("", None, true),
            text("", "@p int"),
            int("", Some(1), false),
        ],
    );
    let answer = client.call(&open).await?;
    assert_eq!(answer.errors(), []);
    assert!(answer.rows().is_empty());
    assert_eq!(answer.columns()[0].name, "a");
    let values: Vec<_> = answer
        .tokens
        .iter()
        .filter_map(|token| match token {
            Token::Value(_, value) => value.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(values[1..], ["8", "1", "4"]);
    let cursor = handle(&answer);
    let fetch = |kind, place, count| {
        numbered(
            7,
            &[
                int("", Some(cursor), false),
                int("", Some(kind), false),
                int("", Some(place), false),
                int("", Some(count), false),
            ],
        )
    };
    for (call, expected) in [
        (fetch(2, 0, 3), vec!["2", "3", "4"]),
        (fetch(2, 0, 3), vec!["5"]),
        (fetch(2, 0, 3), vec![]),
        (fetch(1, 0, 1), vec!["2"]),
        (fetch(8, 0, 2), vec!["4", "5"]),
        (fetch(16, 2, 1), vec!["3"]),
    ] {
        let rows = client.call(&call).await?.rows();
        let values: Vec<_> = rows
            .into_iter()
            .map(|row| row[0].clone().unwrap())
            .collect();
        assert_eq!(values, expected);
    }
    let close = numbered(9, &[int("", Some(cursor), false)]);
    assert_eq!(client.call(&close).await?.errors(), []);
    assert_eq!(client.call(&close).await?.errors(), [(16_909, 16)]);
    // Prepared cursors are not known, and refused.
    let prepare = numbered(3, &[int("", None, true)]);
    assert_eq!(client.call(&prepare).await?.errors(), [(40_000, 16)]);
    Ok(())
}

#[tokio::test]
async fn broken_calls_are_errors() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    for body in [
        vec![],
        vec![0xff, 0xff],
        vec![0xff, 0xff, 10, 0, 0, 0, 1],
        vec![0xff, 0xff, 10, 0, 0, 0, 0, 0, 0x99, 1],
        vec![
            0xff, 0xff, 10, 0, 0, 0, 0, 0, 0xe7, 255, 255, 0, 0, 0, 0, 0, 1, 1,
        ],
    ] {
        assert_eq!(client.call(&body).await?.errors(), [(4002, 16)]);
    }
    assert_eq!(
        client.call(&numbered(99, &[])).await?.errors(),
        [(40_000, 16)]
    );
    assert_eq!(
        client.call(&named("sp_nothing", &[])).await?.errors(),
        [(2812, 16)]
    );
    client.ok("select 1").await?;
    Ok(())
}

#[tokio::test]
async fn procedures_are_prepared_by_name() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client
        .ok("create procedure twice @n int, @out int output as set @out = @n * 2 select @n")
        .await?;
    let prepare = numbered(
        14,
        &[
            int("", None, true),
            text("", "dbo.twice"),
            int("", Some(4), false),
            int("", None, true),
        ],
    );
    let answer = client.call(&prepare).await?;
    assert_eq!(answer.rows(), [[Some("4".to_owned())]]);
    let values = |answer: &Answer| -> Vec<String> {
        let all = answer.tokens.iter().filter_map(|token| match token {
            Token::Value(_, value) => value.clone(),
            _ => None,
        });
        all.collect()
    };
    assert_eq!(values(&answer)[1], "8");
    let again = numbered(
        12,
        &[
            int("", Some(handle(&answer)), false),
            int("", Some(5), false),
            int("", None, true),
        ],
    );
    assert_eq!(values(&client.call(&again).await?), ["10"]);
    // The types that ODBC asks for when it connects.
    let types = named("[sys].sp_datatype_info_100", &[int("", Some(93), false)]);
    let rows = client.call(&types).await?.rows();
    assert_eq!(rows[0][0].as_deref(), Some("datetime2"));
    assert_eq!(rows[0][2].as_deref(), Some("27"));
    Ok(())
}
