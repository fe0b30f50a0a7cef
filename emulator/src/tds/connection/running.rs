//! One request while it runs: its packets go out, an attention may come in.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Connection;
use crate::tds::session::{Cancel, Flow, Output, Request, Session};
use crate::tds::wire::packet::kind;

/// Packets made and not sent yet.
const AHEAD: usize = 16;

/// A request that is over.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None`: the session ends.
    pub(super) session: Option<Session>,
    /// An attention came, and the answer was complete before it was seen.
    pub(super) is_unacknowledged: bool,
}

type Job = JoinHandle<(Session, Flow)>;

/// SQLite and WAITFOR block, so requests run off the reactor. `None`: the server broke down.
pub(super) async fn run(
    connection: &mut Connection,
    session: Session,
    request: Request,
) -> Option<Outcome> {
    let (sender, mut packets) = mpsc::channel(AHEAD);
    let cancel = session.cancel();
    cancel.clear();
    let mut output = Output::new(sender, connection.envelope, connection.version);
    let mut session = session;
    let job: Job = tokio::task::spawn_blocking(move || {
        let flow = session.handle(request, &mut output);
        (session, flow)
    });
    let attention = deliver(connection, &mut packets, &cancel).await;
    let (session, flow) = job.await.ok()?;
    let is_over = flow == Flow::End || attention == Seen::Gone;
    Some(Outcome {
        session: (!is_over).then_some(session),
        is_unacknowledged: attention == Seen::Attention && flow != Flow::Cancelled,
    })
}

/// What came from the client meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Attention,
    Gone,
}

/// Sends packets until there are no more.
async fn deliver(
    connection: &mut Connection,
    packets: &mut mpsc::Receiver<Vec<u8>>,
    cancel: &Cancel,
) -> Seen {
    let mut seen = Seen::Nothing;
    loop {
        tokio::select! {
            biased;
            packet = packets.recv() => {
                let Some(packet) = packet else {
                    return seen;
                };
                if seen != Seen::Gone && connection.link.send(&packet).await.is_err() {
                    cancel.set();
                    seen = Seen::Gone;
                }
            }
            packet = connection.link.packet(),
                if seen == Seen::Nothing && connection.inbox.has_room() =>
            {
                seen = match packet {
                    Ok(packet) if packet.kind == kind::ATTENTION => {
                        connection.server.counters.attentions.add();
                        cancel.set();
                        Seen::Attention
                    }
                    Ok(packet) => {
                        // Without MARS nobody should, before the last packet of the answer; it
                        // waits for its turn.
                        connection.server.counters.pipelined_packets.add();
                        connection.inbox.hold(packet);
                        Seen::Nothing
                    }
                    Err(_) => {
                        cancel.set();
                        Seen::Gone
                    }
                };
            }
        }
    }
}
