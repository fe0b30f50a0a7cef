//! The client's messages in the examples of MS-TDS 4, byte for byte, in one session: what drivers of
//! Microsoft's sent to servers of theirs.

use entrapool_emulator::tds::TdsServer;
use tokio::io::AsyncWriteExt as _;

use crate::answer::Token;
use crate::client::{Client, option};

/// 4.1.
const PRE_LOGIN: &str = "12 01 00 2F 00 00 01 00 00 00 1A 00 06 01 00 20 \
    00 01 02 00 21 00 01 03 00 22 00 04 04 00 26 00 01 FF 09 00 00 00 00 00 01 00 B8 0D 00 00 01";
/// 4.2: `sa`, who has no password, TDS 7.2.
const LOGIN: &str = "10 01 00 90 00 00 01 00 88 00 00 00 02 00 09 72 \
    00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00 E0 03 00 00 00 00 00 00 09 04 00 00 5E 00 08 00 \
    6E 00 02 00 72 00 00 00 72 00 07 00 80 00 00 00 80 00 00 00 80 00 04 00 88 00 00 00 88 00 00 00 \
    00 50 8B E2 B7 8F 88 00 00 00 88 00 00 00 88 00 00 00 00 00 00 00 73 00 6B 00 6F 00 73 00 74 00 \
    6F 00 76 00 31 00 73 00 61 00 4F 00 53 00 51 00 4C 00 2D 00 33 00 32 00 4F 00 44 00 42 00 43 00";
/// 4.6: `select 'foo' as 'bar'`, in blanks.
const BATCH: &str = "01 01 00 5C 00 00 01 00 16 00 00 00 12 00 00 00 \
    02 00 00 00 00 00 00 00 00 01 00 00 00 00 0A 00 73 00 65 00 6C 00 65 00 63 00 74 00 20 00 27 00 \
    66 00 6F 00 6F 00 27 00 20 00 61 00 73 00 20 00 27 00 62 00 61 00 72 00 27 00 0A 00 20 00 20 00 \
    20 00 20 00 20 00 20 00 20 00 20 00";
/// 4.8: the procedure `foo3`, with a parameter that has no name and no value.
const CALL: &str = "03 01 00 2F 00 00 01 00 16 00 00 00 12 00 00 00 \
    02 00 00 00 00 00 00 00 00 01 00 00 00 00 04 00 66 00 6F 00 6F 00 33 00 00 00 00 02 26 02 00";
/// 2.2.1.7: nothing but a header.
const ATTENTION: &str = "06 01 00 08 00 00 01 00";

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.split_whitespace();
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// Descriptor and count in ALL_HEADERS (2.2.5.3.2) are those of the session that was recorded; in
/// this one there is no transaction, and one request.
fn of_this_session(hex: &str) -> Vec<u8> {
    let mut bytes = bytes(hex);
    bytes[18..30].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    bytes
}

async fn session() -> anyhow::Result<(TdsServer, Client)> {
    let server = TdsServer::builder().database("appdb").password("sa", "");
    let server = server.start().await?;
    let mut client = Client::connect(server.addr()).await?;
    client.stream.write_all(&bytes(PRE_LOGIN)).await?;
    let answer = client.message().await?;
    // VERSION, ENCRYPTION, INSTOPT, THREADID, MARS.
    for token in 0..=4 {
        assert!(option(&answer, token).is_some(), "option {token}");
    }
    client.stream.write_all(&bytes(LOGIN)).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.errors(), []);
    let acknowledged = answer.tokens.iter().find_map(|token| match token {
        Token::LoginAck(ack) => Some(&ack[1..5]),
        _ => None,
    });
    assert_eq!(acknowledged, Some(&[0x72, 0x09, 0x00, 0x02][..]));
    Ok((server, client))
}

#[tokio::test]
async fn a_batch_of_the_specification_is_answered() -> anyhow::Result<()> {
    let (_server, mut client) = session().await?;
    client.stream.write_all(&of_this_session(BATCH)).await?;
    let answer = client.answer().await?;
    let [
        Token::Columns(columns),
        Token::Row(row),
        Token::Done { status, rows, .. },
    ] = &answer.tokens[..]
    else {
        panic!("{answer:?}");
    };
    assert_eq!(columns[0].name, "bar");
    assert_eq!(row[..], [Some("foo".to_owned())]);
    assert_eq!((*status, *rows), (0x10, 1));
    Ok(())
}

#[tokio::test]
async fn a_call_of_the_specification_finds_no_procedure() -> anyhow::Result<()> {
    let (_server, mut client) = session().await?;
    client.stream.write_all(&of_this_session(CALL)).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.errors(), [(2812, 16)]);
    client.stream.write_all(&bytes(ATTENTION)).await?;
    let answer = client.answer().await?;
    assert!(
        matches!(answer.tokens[..], [Token::Done { status: 0x20, .. }]),
        "{answer:?}"
    );
    Ok(())
}

/// As it was recorded: it counts no request at all.
#[tokio::test]
async fn a_request_of_another_session_is_refused() -> anyhow::Result<()> {
    let (_server, mut client) = session().await?;
    client.stream.write_all(&bytes(BATCH)).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.errors(), [(4002, 16)]);
    Ok(())
}
