//! After the login: requests in, answers out, attentions in between (MS-TDS 3.3.5.8).

mod inbox;
mod running;

use std::sync::Arc;

use super::error::ServerError;
use super::login::Entered;
use super::server::Server;
use super::session::{Request, Session};
use super::wire::link::Link;
use super::wire::packet::Envelope;
use super::wire::tokens::{Done, DoneKind, done, put_error};
use super::wire::version::Version;
use inbox::{Inbox, Incoming};

/// A connection of a logged-in client.
#[derive(Debug)]
struct Connection {
    server: Arc<Server>,
    link: Link,
    inbox: Inbox,
    envelope: Envelope,
    version: Version,
}

/// Answers requests until the client goes, breaks the rules, or is cut off.
pub(super) async fn converse(server: Arc<Server>, entered: Entered) {
    let killed = entered.session.kill_token();
    let connection = Connection {
        inbox: Inbox::new(entered.envelope.size, entered.version),
        server,
        link: entered.link,
        envelope: entered.envelope,
        version: entered.version,
    };
    // Whatever runs is to stop when this task does.
    let _stop = entered.session.cancel().on_drop();
    tokio::select! {
        () = killed.cancelled() => {}
        () = connection.run(entered.session) => {}
    }
}

impl Connection {
    async fn run(mut self, mut session: Session) {
        loop {
            match self.inbox.next(&mut self.link).await {
                Incoming::Request(request) => {
                    self.server.counters.requests.add();
                    match self.answer(session, request).await {
                        Some(back) => session = back,
                        None => break,
                    }
                }
                Incoming::Attention => {
                    self.server.counters.attentions.add();
                    if !self.acknowledge(done::ATTENTION).await {
                        break;
                    }
                }
                // Dropped, and answered as failed, without an attention's acknowledgement
                // (MS-TDS 2.2.1.7).
                Incoming::Ignored => {
                    self.server.counters.ignored_messages.add();
                    if !self.acknowledge(done::ERROR).await {
                        break;
                    }
                }
                Incoming::WrongSize { got, wanted } => {
                    self.server.counters.size_violations.add();
                    let what = format!(
                        "a packet of {got} bytes that is not the last one, where {wanted} were \
                         negotiated"
                    );
                    self.say_last(&ServerError::protocol(&what)).await;
                    break;
                }
                Incoming::Breach => {
                    self.server.counters.protocol_violations.add();
                    break;
                }
                Incoming::Gone => break,
            }
        }
        self.link.end().await;
    }

    /// A single DONE.
    async fn acknowledge(&mut self, status: u16) -> bool {
        let mut body = Vec::new();
        let mut done = Done::new(DoneKind::Done);
        done.status = status;
        done.put(&mut body, self.version);
        self.link.send(&self.envelope.message(&body)).await.is_ok()
    }

    async fn say_last(&mut self, error: &ServerError) {
        let mut body = Vec::new();
        put_error(&mut body, error, self.version);
        Done::failed(DoneKind::Done).put(&mut body, self.version);
        let _gone = self.link.send(&self.envelope.message(&body)).await;
    }

    /// Runs a request to its end. `None`: the connection ends.
    async fn answer(&mut self, session: Session, request: Request) -> Option<Session> {
        let outcome = running::run(self, session, request).await?;
        if outcome.is_unacknowledged {
            let acknowledged = self.acknowledge(done::ATTENTION).await;
            outcome.session.filter(|_| acknowledged)
        } else {
            outcome.session
        }
    }
}
