//! Transaction Manager requests (MS-TDS 2.2.6.9, 3.3.5.7).

use super::stop::Stop;
use super::transaction::Asked;
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::wire::tokens::{Done, DoneKind};
use crate::tds::wire::transaction::{self, Begin, Request};

impl Session {
    pub(super) fn transaction_request(
        &mut self,
        body: &[u8],
        out: &mut Output,
    ) -> Result<(), Stop> {
        let body = self.without_headers(body)?;
        let request = transaction::read(body)
            .map_err(|malformed| ServerError::protocol(&malformed.to_string()))?;
        match request {
            Request::Begin(begin) => self.begin_requested(&begin, out),
            Request::Commit { then } => {
                self.commit(out)?;
                self.then_begin(then.as_ref(), out);
            }
            Request::Rollback { name, then } => {
                self.rollback(&name, out)?;
                self.then_begin(then.as_ref(), out);
            }
            Request::Save { name } => self.save(&name)?,
            Request::Other(number) => {
                let what = format!(
                    "Transaction Manager request {number}: only begin (5), commit (7), rollback (8) \
                     and save (9) are known"
                );
                return Err(ServerError::unsupported(&what).into());
            }
        }
        out.done(Done::new(DoneKind::Done));
        Ok(())
    }

    fn begin_requested(&mut self, begin: &Begin, out: &mut Output) {
        // It stays in force after the transaction.
        if let Some(isolation) = begin.isolation {
            self.options.isolation = isolation;
        }
        self.begin("", Asked::ByRequest, out);
    }

    fn then_begin(&mut self, then: Option<&Begin>, out: &mut Output) {
        if let Some(begin) = then {
            self.begin_requested(begin, out);
        }
    }
}
