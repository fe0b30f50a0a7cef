//! RESETCONNECTION (MS-TDS 2.2.3.1.2): the session as it was after its login.

use super::options::Options;
use super::{Output, Session};
use crate::clock;
use crate::tds::builder::IsolationOnReset;
use crate::tds::error::ServerError;
use crate::tds::wire::tokens::{env, put_env_bytes};

/// Which of the two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum Reset {
    Everything,
    /// RESETCONNECTIONSKIPTRAN.
    KeepingTransaction,
}

impl Session {
    /// Identity and application role stay, and the isolation level, except on Azure. The database
    /// and the language go back without an ENVCHANGE of their own.
    pub(super) fn reset(&mut self, reset: Reset, out: &mut Output) -> Result<(), ServerError> {
        let counters = &self.server.counters;
        counters.resets.add();
        // Azure looks at the token again once the connection is old.
        let is_old = self.opened.elapsed() >= self.server.setup.revalidate_after;
        let expires = self.facts.identity.expires;
        if is_old && expires.is_some_and(|expires| clock::now() >= expires) {
            let who = "<token-identified principal>";
            return Err(ServerError::login_failed(who, " Token is expired."));
        }
        match reset {
            Reset::Everything => {
                let silent = self.transaction.count() > 0;
                if silent {
                    self.stale_descriptor = Some(self.transaction.descriptor());
                    // The rollback is a part of the reset: ENVCHANGE 18 says it all.
                    self.roll_back_silently();
                    self.server.counters.rollbacks.add();
                    self.transaction = super::transaction::Transaction::default();
                }
                self.server.locks.release_all(self.spid);
            }
            Reset::KeepingTransaction => {
                counters.resets_keeping_transaction.add();
                self.server.locks.release_session(self.spid);
            }
        }
        self.drop_temporary_tables();
        self.cursors.clear();
        self.handles.clear();
        self.bulk = None;
        let isolation = self.options.isolation;
        self.options = Options::at_login(&self.facts);
        if self.server.setup.isolation_on_reset == IsolationOnReset::Kept {
            self.options.isolation = isolation;
        }
        self.context.reset(&self.facts);
        self.last = super::globals::Last::default();
        self.recovery.reset();
        out.put(|bytes| put_env_bytes(bytes, env::RESET, &[], &[]));
        Ok(())
    }
}
