//! The rules on packets and messages, attentions, and what may come when.

use std::time::{Duration, Instant};

use crate::client::{ATTENTION, BATCH, Client, EOM, LOGIN7, Login, RPC, TRANSACTION, utf16};
use crate::server::{plain, plain_pair};

type Outcome = anyhow::Result<()>;

/// A batch as one body.
fn body(client: &Client, sql: &str) -> Vec<u8> {
    [client.headers(), utf16(sql)].concat()
}

#[tokio::test]
async fn long_requests_and_answers_span_packets() -> Outcome {
    let server = plain().start().await?;
    for size in [512, 4096, 32_767] {
        let asked = Login {
            packet_size: size,
            ..Login::sa()
        };
        let mut client = Client::open(&server, &asked).await?;
        // The server's own is the most that it gives.
        assert_eq!(client.size, usize::try_from(size)?.min(4096));
        let text = "x".repeat(20_000);
        let sent = client.value(&format!("select N'{text}' + N'y'")).await?;
        assert_eq!(sent, Some(text + "y"));
    }
    assert_eq!(server.counters().size_violations(), 0);
    Ok(())
}

#[tokio::test]
async fn packets_of_another_size_end_the_connection() -> Outcome {
    let server = plain().start().await?;
    let mut client = Client::open(&server, &Login::sa()).await?;
    let bytes = body(&client, &format!("select '{}'", "x".repeat(4_000)));
    client.packet(BATCH, 0, &bytes[..4_000]).await?;
    let answer = client.answer().await?;
    assert_eq!(answer.errors(), [(4002, 16)]);
    assert!(client.is_closed().await);
    let mut client = Client::open(&server, &Login::sa()).await?;
    client.packet(BATCH, EOM, &bytes[..4_100]).await?;
    assert_eq!(client.answer().await?.errors(), [(4002, 16)]);
    assert!(client.is_closed().await);
    assert_eq!(server.counters().size_violations(), 2);
    // The rule is of 7.3.
    let old = Login {
        version: 0x7209_0002,
        ..Login::sa()
    };
    let mut client = Client::open(&server, &old).await?;
    let bytes = body(&client, "select 1");
    client.packet(BATCH, 0, &bytes[..10]).await?;
    client.packet(BATCH, EOM, &bytes[10..]).await?;
    assert!(client.answer().await?.errors().is_empty());
    Ok(())
}

#[tokio::test]
async fn unexpected_packets_end_the_connection() -> Outcome {
    let server = plain().start().await?;
    for kind in [0, 2, 4, 8, LOGIN7, 17, 18, 99] {
        let mut client = Client::open(&server, &Login::sa()).await?;
        client.packet(kind, EOM, &[1, 2, 3]).await?;
        assert!(client.is_closed().await, "{kind}");
    }
    // Both reset bits; the second half of a message being of another type; IGNORE alone.
    let mut client = Client::open(&server, &Login::sa()).await?;
    client
        .packet(BATCH, EOM | 0x18, &body(&client, "select 1"))
        .await?;
    assert!(client.is_closed().await);
    let mut client = Client::open(&server, &Login::sa()).await?;
    client.packet(BATCH, 0, &[0; 4088]).await?;
    client.packet(RPC, EOM, &[0; 8]).await?;
    assert!(client.is_closed().await);
    let mut client = Client::open(&server, &Login::sa()).await?;
    client.packet(BATCH, 2, &[0; 4088]).await?;
    assert!(client.is_closed().await);
    assert_eq!(server.counters().protocol_violations(), 11);
    Ok(())
}

#[tokio::test]
async fn headers_are_required_and_checked() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    for headers in [
        vec![],
        vec![4, 0, 0, 0],
        vec![255, 0, 0, 0, 18, 0, 0, 0],
        // Two outstanding requests.
        vec![
            22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
        ],
    ] {
        client
            .send(BATCH, &[headers, utf16("select 1")].concat())
            .await?;
        assert_eq!(client.answer().await?.errors(), [(4002, 16)]);
    }
    // A transaction that is not ours.
    client.descriptor = 77;
    assert_eq!(client.batch("select 1").await?.errors(), [(3971, 16)]);
    client.descriptor = 0;
    client.ok("begin tran").await?;
    let own = client.descriptor;
    assert_ne!(own, 0);
    client.descriptor = 0;
    assert_eq!(client.batch("select 1").await?.errors(), [(3971, 16)]);
    client.descriptor = own;
    client.ok("commit").await?;
    // An odd length is no text.
    let odd = [client.headers(), vec![0x20]].concat();
    client.send(BATCH, &odd).await?;
    assert_eq!(client.answer().await?.errors(), [(4002, 16)]);
    client
        .send(TRANSACTION, &[client.headers(), vec![5]].concat())
        .await?;
    assert_eq!(client.answer().await?.errors(), [(4002, 16)]);
    client.ok("select 1").await?;
    Ok(())
}

#[tokio::test]
async fn an_attention_stops_what_runs() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    let loops = "declare @i int = 0 while 1 = 1 set @i += 1";
    let rows = "with n(i) as (select 1 union all select 2 union all select 3 union all select 4), \
                m as (select a.i from n a, n b, n c, n d, n e) \
                select count(*) from m a, m b, m c, m d where a.i + b.i + c.i + d.i < 0";
    for sql in ["waitfor delay '00:00:30'", loops, rows] {
        let start = Instant::now();
        client.start(0, sql).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.packet(ATTENTION, EOM, &[]).await?;
        // What it has of the answer, and the acknowledgement in a message of its own.
        client.answer().await?;
        assert_eq!(client.answer().await?.dones(), [(0xfd, 0x20, 0)], "{sql}");
        assert!(start.elapsed() < Duration::from_secs(10), "{sql}");
        // The session is as good as before.
        assert_eq!(client.value("select 7").await?.as_deref(), Some("7"));
    }
    assert_eq!(server.counters().attentions(), 3);
    Ok(())
}

#[tokio::test]
async fn an_attention_ends_an_answer_between_rows() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    let many = "with n(i) as (select 1 union all select 2 union all select 3 union all select 4), \
                m as (select a.i from n a, n b, n c, n d, n e) \
                select a.i, replicate(N'x', 100) from m a, m b, m c";
    client.start(0, many).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.packet(ATTENTION, EOM, &[]).await?;
    // Whole rows, then the acknowledgement: taken apart without an error.
    let answer = client.answer().await?;
    assert_eq!(answer.dones(), [(0xfd, 0, 0)]);
    assert!(!answer.rows().is_empty());
    assert_eq!(client.answer().await?.dones(), [(0xfd, 0x20, 0)]);
    client.ok("select 1").await?;
    Ok(())
}

#[tokio::test]
async fn attentions_without_a_request_are_acknowledged() -> Outcome {
    let (_server, mut client) = plain_pair().await?;
    client.packet(ATTENTION, EOM, &[]).await?;
    assert_eq!(client.answer().await?.dones(), [(0xfd, 0x20, 0)]);
    // In the middle of a message: it is gone.
    client.packet(BATCH, 0, &[0; 4088]).await?;
    client.packet(ATTENTION, EOM, &[]).await?;
    assert_eq!(client.answer().await?.dones(), [(0xfd, 0x20, 0)]);
    client.ok("select 1").await?;
    Ok(())
}

#[tokio::test]
async fn an_attention_leaves_the_transaction_alone() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    client.ok("begin tran insert t values (1)").await?;
    client.start(0, "waitfor delay '00:00:30'").await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.packet(ATTENTION, EOM, &[]).await?;
    for _ in 0..2 {
        assert_eq!(client.answer().await?.env(), [] as [u8; 0]);
    }
    client.ok("commit").await?;
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    // Under XACT_ABORT it is rolled back.
    client
        .ok("set xact_abort on begin tran insert t values (2)")
        .await?;
    client.start(0, "waitfor delay '00:00:30'").await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.packet(ATTENTION, EOM, &[]).await?;
    assert_eq!(client.answer().await?.env(), [10]);
    client.answer().await?;
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("1")
    );
    assert_eq!(server.counters().rollbacks(), 1);
    Ok(())
}

#[tokio::test]
async fn withdrawn_messages_are_not_run() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    client.ok("create table t (a int)").await?;
    let mut bytes = body(&client, "insert t values (1)");
    bytes.resize(4088 * 2, 0x20);
    client.packet(BATCH, 0, &bytes[..4088]).await?;
    client.packet(BATCH, EOM | 2, &bytes[4088..]).await?;
    // An error without an acknowledgement (MS-TDS 2.2.1.7).
    assert_eq!(client.answer().await?.dones(), [(0xfd, 2, 0)]);
    assert_eq!(
        client.value("select count(*) from t").await?.as_deref(),
        Some("0")
    );
    assert_eq!(server.counters().ignored_messages(), 1);
    Ok(())
}

#[tokio::test]
async fn sessions_can_be_cut_off_and_refused() -> Outcome {
    let (server, mut client) = plain_pair().await?;
    let spid = client.value("select @@spid").await?.unwrap();
    let spid: u16 = spid.parse()?;
    assert_eq!(server.sessions()[0].spid, spid);
    client.start(0, "waitfor delay '00:00:30'").await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.kill(spid));
    assert!(client.is_closed().await);
    let end = Instant::now() + Duration::from_secs(5);
    while server.counters().sessions_open() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.counters().sessions_open(), 0);
    assert!(!server.kill(spid));
    server.refuse_connections().await;
    assert!(Client::connect(server.addr()).await.is_err());
    server.accept_connections().await?;
    Client::open(&server, &Login::sa()).await?;
    Ok(())
}
