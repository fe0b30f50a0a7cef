//! RPC requests (MS-TDS 2.2.6.6): each call ends with DONEPROC.

use super::call::{Argument, Returned};
use super::rows::{Heading, put_return_value};
use super::stop::Stop;
use super::{Output, Session};
use crate::tds::error::ServerError;
use crate::tds::sql::lexer::lex;
use crate::tds::sql::tokens::Tokens;
use crate::tds::wire::rpc::{self, Call, Procedure};
use crate::tds::wire::tokens::{Done, DoneKind, put_return_status};

/// Procedures that have numbers, from 1 on.
const NUMBERED: [&str; 15] = [
    "sp_cursor",
    "sp_cursoropen",
    "sp_cursorprepare",
    "sp_cursorexecute",
    "sp_cursorprepexec",
    "sp_cursorunprepare",
    "sp_cursorfetch",
    "sp_cursoroption",
    "sp_cursorclose",
    "sp_executesql",
    "sp_prepare",
    "sp_execute",
    "sp_prepexec",
    "sp_prepexecrpc",
    "sp_unprepare",
];
/// DONE_RPCINBATCH: another call follows.
const IN_BATCH: u16 = 0x80;

impl Session {
    pub(super) fn rpc_request(&mut self, body: &[u8], out: &mut Output) -> Result<(), Stop> {
        self.server.counters.rpcs.add();
        let body = self.without_headers(body)?;
        let calls = rpc::read(body, self.facts.version)
            .map_err(|malformed| ServerError::protocol(&malformed.to_string()))?;
        let count = calls.len();
        for (at, call) in calls.into_iter().enumerate() {
            if call.is_skipped {
                continue;
            }
            let more = if at + 1 < count { IN_BATCH } else { 0 };
            self.end_batch();
            self.push_batch("")?;
            match self.call(&call, out) {
                Ok(()) => {
                    let mut done = Done::new(DoneKind::Proc);
                    done.status = more;
                    out.done(done);
                }
                Err(stop @ (Stop::Raised(_) | Stop::Aborted)) => {
                    self.fail_call(&stop, more, out)?;
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    fn fail_call(&mut self, stop: &Stop, more: u16, out: &mut Output) -> Result<(), Stop> {
        let mut ends = false;
        if let Stop::Raised(error) = stop {
            self.last.error = error.number;
            out.error(error);
            ends = error.class >= 20;
            if self.options.is_on("xact_abort") {
                self.roll_back_all(out);
            }
        }
        let mut done = Done::failed(DoneKind::Proc);
        done.status |= more;
        out.done(done);
        if ends { Err(Stop::Ended) } else { Ok(()) }
    }

    fn call(&mut self, call: &Call, out: &mut Output) -> Result<(), Stop> {
        let names = match &call.procedure {
            Procedure::Numbered(number) => {
                let at = usize::from(*number).checked_sub(1);
                let name = at.and_then(|at| NUMBERED.get(at)).ok_or_else(|| {
                    ServerError::unsupported(&format!("the procedure with number {number}"))
                })?;
                vec![(*name).to_owned()]
            }
            Procedure::Named(name) => {
                let lexed = lex(name, true)?;
                let mut tokens = Tokens::new(&lexed);
                let names = tokens.names()?;
                tokens.end()?;
                names
            }
        };
        let arguments: Vec<Argument> = call
            .parameters
            .iter()
            .map(|p| Argument::new(&p.name, p.kind, p.value.clone(), p.is_output))
            .collect();
        let returned = self.invoke(&names, &arguments, out)?;
        self.give_back(call, returned, out)
    }

    fn give_back(&self, call: &Call, returned: Returned, out: &mut Output) -> Result<(), Stop> {
        out.put(|bytes| put_return_status(bytes, returned.status));
        for given in returned.outputs {
            let Some(parameter) = call.parameters.get(given.at) else {
                continue;
            };
            if !parameter.is_output {
                continue;
            }
            let heading = Heading {
                name: parameter.name.clone(),
                kind: given.kind,
            };
            let ordinal = u16::try_from(given.at).unwrap_or(u16::MAX);
            put_return_value(out, ordinal, &heading, given.value)?;
        }
        Ok(())
    }
}
