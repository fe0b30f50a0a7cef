//! One session after its login: requests in, tokens out.
//!
//! What survives a request is in here, and what RESETCONNECTION takes away again (`reset`). It
//! blocks in the store, in WAITFOR and for locks; never call it on the reactor.

mod assignment;
mod batch;
mod bulk;
mod call;
mod cancel;
mod change;
mod context;
mod cursor_calls;
mod cursors;
mod data;
mod ddl;
mod frame;
mod globals;
mod handles;
mod insert;
mod language;
pub(super) mod locks;
mod messages;
mod options;
mod output;
mod procedures;
mod recovery;
mod reset;
mod rows;
mod rpc;
mod set;
mod statements;
mod stop;
mod system;
mod transaction;
mod transaction_requests;
mod views;

pub(super) use cancel::Cancel;
pub(super) use language::Language;
pub(super) use output::Output;
pub(super) use reset::Reset;

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::error::ServerError;
use super::login::Identity;
use super::seen::SessionSeen;
use super::server::Server;
use super::wire::packet::kind;
use super::wire::tokens::{Done, DoneKind};
use super::wire::version::Version;
use context::Context;
use cursors::Cursors;
use frame::Frame;
use globals::Last;
use handles::Handles;
use options::Options;
use recovery::Recovery;
use stop::Stop;
use transaction::Transaction;

/// A whole message of a client.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: u8,
    pub(super) reset: Option<Reset>,
    pub(super) body: Bytes,
}

/// How a connection goes on after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    /// An attention ended it, and the answer says so already.
    Cancelled,
    End,
}

/// What the login fixed.
#[derive(Debug)]
pub(super) struct LoginFacts {
    pub(super) identity: Identity,
    pub(super) database: String,
    pub(super) language: Language,
    pub(super) version: Version,
    pub(super) app: String,
    pub(super) host: String,
    /// fODBC or fOLEDB: ANSI options are on.
    pub(super) is_odbc: bool,
    /// SESSIONRECOVERY was negotiated.
    pub(super) has_recovery: bool,
}

/// A logged-in client.
#[derive(Debug)]
pub(super) struct Session {
    server: Arc<Server>,
    facts: LoginFacts,
    spid: u16,
    connection: Connection,
    cancel: Arc<Cancel>,
    kill: CancellationToken,
    options: Options,
    context: Context,
    transaction: Transaction,
    /// Batch, procedures, dynamic SQL: the innermost last.
    frames: Vec<Frame>,
    handles: Handles,
    cursors: Cursors,
    last: Last,
    recovery: Recovery,
    bulk: Option<bulk::Target>,
    /// `##` tables, which end with this session.
    global_temporary: Vec<String>,
    requests: u64,
    opened: std::time::Instant,
}

impl Session {
    pub(super) fn open(
        server: Arc<Server>,
        facts: LoginFacts,
        spid: u16,
    ) -> Result<Self, ServerError> {
        let connection = server.databases.open()?;
        let mut session = Self {
            cancel: Arc::new(Cancel::new(connection.get_interrupt_handle())),
            kill: CancellationToken::new(),
            options: Options::at_login(&facts),
            context: Context::at_login(&facts),
            transaction: Transaction::default(),
            frames: Vec::new(),
            handles: Handles::default(),
            cursors: Cursors::default(),
            last: Last::default(),
            recovery: Recovery::default(),
            bulk: None,
            global_temporary: Vec::new(),
            requests: 0,
            opened: std::time::Instant::now(),
            server,
            facts,
            spid,
            connection,
        };
        session.recovery = Recovery::start(session.states());
        session.server.counters.sessions_opened.add();
        let kill = session.kill.clone();
        session.server.register.open(session.seen(), kill);
        Ok(session)
    }

    pub(super) fn facts(&self) -> &LoginFacts {
        &self.facts
    }

    pub(super) fn cancel(&self) -> Arc<Cancel> {
        Arc::clone(&self.cancel)
    }

    pub(super) fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }

    /// Answers one request.
    pub(super) fn handle(&mut self, request: Request, out: &mut Output) -> Flow {
        self.requests += 1;
        if let Some(reset) = request.reset
            && let Err(error) = self.reset(reset, out)
        {
            return self.end(&error, out);
        }
        let outcome = match request.kind {
            kind::SQL_BATCH => self.batch_request(&request.body, out),
            kind::RPC => self.rpc_request(&request.body, out),
            kind::TRANSACTION => self.transaction_request(&request.body, out),
            _ => self.bulk_request(&request.body, out),
        };
        self.frames.clear();
        // LOCAL ones of the batch itself.
        self.cursors.end_of_frame(1);
        let outcome = outcome.or_else(|stop| self.report(stop, out));
        if self.transaction.is_doomed() {
            self.end_doomed(out);
        }
        let states = self.changed_states();
        let flow = match outcome {
            Ok(()) | Err(Stop::Aborted | Stop::Raised(_)) => {
                out.finish(&states);
                Flow::Continue
            }
            Err(Stop::Cancelled) => {
                out.finish_cancelled(&states);
                Flow::Cancelled
            }
            Err(Stop::Ended) => {
                out.finish(&[]);
                Flow::End
            }
        };
        self.server.register.update(self.seen());
        flow
    }

    /// Tells what was not told yet.
    fn report(&mut self, stop: Stop, out: &mut Output) -> Result<(), Stop> {
        if let Stop::Raised(error) = &stop {
            self.last.error = error.number;
            out.error(error);
            out.done(Done::failed(DoneKind::Done));
            if error.class >= 20 {
                return Err(Stop::Ended);
            }
        }
        Err(stop)
    }

    fn end(&mut self, error: &ServerError, out: &mut Output) -> Flow {
        out.error(error);
        out.done(Done::failed(DoneKind::Done));
        out.finish(&[]);
        Flow::End
    }

    fn seen(&self) -> SessionSeen {
        SessionSeen {
            spid: self.spid,
            user: self.facts.identity.user.clone(),
            database: self.context.database.clone(),
            app: self.facts.app.clone(),
            host: self.facts.host.clone(),
            open_transactions: self.transaction.count(),
            handles: self.handles.len(),
            requests: self.requests,
            temporary_objects: self.temporary_objects(),
            options: self.options.shown(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.roll_back_silently();
        self.server.locks.release_all(self.spid);
        self.drop_temporary_tables();
        self.server.register.close(self.spid);
        self.server.counters.sessions_ended.add();
    }
}
