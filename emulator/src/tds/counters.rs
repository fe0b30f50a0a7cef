//! What the server saw, for tests to read. Token ids at most, never tokens.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters once: field, reader, and what it counts.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(super) $name: Count,)*
        }

        impl Counters {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> u64 { self.$name.get() })*
        }
    };
}

counters! {
    /// Logins let in.
    logins,
    /// Logins refused, for any reason, injected ones too.
    refused_logins,
    /// Logins answered with a route to another server.
    redirects,
    /// Requests with a RESETCONNECTION bit.
    resets,
    /// Of them, those that keep the transaction.
    resets_keeping_transaction,
    /// SESSIONSTATE tokens sent.
    session_states,
    /// Request packets that were not last and not of the negotiated size (MS-TDS 2.2.3.1.4).
    size_violations,
    /// Other breaches of the protocol that ended a connection.
    protocol_violations,
    /// Attentions.
    attentions,
    /// Messages withdrawn by the IGNORE bit.
    ignored_messages,
    /// Packets that came while a request was running, attentions apart.
    pipelined_packets,
    /// Requests of all kinds.
    requests,
    /// SQLBatch requests.
    batches,
    /// RPC requests.
    rpcs,
    /// Transactions begun.
    begins,
    /// Transactions committed.
    commits,
    /// Transactions rolled back, for any reason.
    rollbacks,
    /// Statements prepared (sp_prepare, sp_prepexec).
    prepares,
    /// Sessions opened by a login, ended ones too.
    sessions_opened,
    /// Sessions ended.
    sessions_ended,
}

impl Counters {
    /// Sessions open now.
    #[must_use]
    pub fn sessions_open(&self) -> u64 {
        self.sessions_opened().saturating_sub(self.sessions_ended())
    }
}

/// One count.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
