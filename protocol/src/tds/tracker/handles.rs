//! Hot path: no allocation per packet. Calls of procedures on their way to the server: handles of
//! prepared statements are the client's on one side and the backend's on the other, in the same
//! four bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::front::Seen;
use super::{Tracker, message};
use crate::tds::Violation;
use crate::tds::effect::Effects;
use crate::tds::packet::{Header, RESET};
use crate::tds::scan::{self, Findings};
use crate::tds::statements::{Meaning, NO_HANDLE, Prepared, Statement, Statements, Watch};
use crate::tds::token::{Call, Calls, Done, Heard, Name, ascii_lower, procedure};

/// Handles to let go of are collected up to this number before a request is made for them alone.
const MOST_STALE: usize = 32;
/// Statements that are prepared for one message at most; what is still missing then is not found.
const MOST_INJECTED: u32 = 64;

/// Bytes that replace others of a packet, of the same number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    /// Where, from the payload's start.
    pub(super) at: usize,
    value: [u8; 4],
    from: usize,
    count: usize,
}

impl Patch {
    pub(super) fn whole(at: usize, value: [u8; 4]) -> Self {
        Self {
            at,
            value,
            from: 0,
            count: 4,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.value
            .get(self.from..self.from + self.count)
            .unwrap_or_default()
    }
}

/// A handle of which the packet has only the beginning.
#[derive(Debug, Clone, Copy)]
struct Cut {
    at: usize,
    value: [u8; 4],
    count: usize,
}

/// A statement that the server is about to give a handle.
#[derive(Debug)]
pub(super) struct Preparing {
    /// Which call of its message does it.
    pub(super) call: usize,
    /// The client's handle; `None` if it is for us.
    pub(super) handle: Option<i32>,
    /// `None` if the text is too long to be kept.
    pub(super) statement: Option<Arc<Statement>>,
    /// The server's handle, as far as it is here.
    pub(super) real: [u8; 4],
}

/// What a look at calls came to.
pub(super) struct Staged {
    pub(super) findings: Findings,
    /// A statement that the backend has to get first.
    pub(super) missing: Option<Arc<Statement>>,
    /// How many calls were looked at.
    pub(super) calls: usize,
}

/// The handles of one backend.
#[derive(Debug, Default)]
pub(super) struct Handles {
    pub(super) prepared: Prepared,
    /// Handles of the server's that nobody needs any more.
    pub(super) stale: Vec<i32>,
    pub(super) preparing: VecDeque<Preparing>,
    /// The statement that the server could not prepare last.
    unpreparable: Option<u32>,
    injected: u32,
    /// The statement that was executed last.
    executed: Option<u32>,
    calls: Calls,
    plan: Calls,
    /// The procedure of the present call; 0 for one by name.
    procedure: u16,
    /// Calls begun in the present message, and how many of them were looked at beforehand.
    begun: usize,
    planned: usize,
    /// The declaration of the present call's parameters; `None` if it is too long.
    parameters: Option<Vec<u8>>,
    /// The packet in front has been walked, and waits for the next.
    walked: bool,
    cut: Option<Cut>,
    /// What the rest of a handle that packets cut becomes.
    rest: [u8; 4],
    pub(super) patches: Vec<Patch>,
}

impl Handles {
    pub(super) fn has_many_stale(&self) -> bool {
        self.stale.len() >= MOST_STALE
    }

    /// The session is reset.
    pub(super) fn forget_all(&mut self) {
        self.prepared.clear();
        self.stale.clear();
    }

    /// The calls of a message are about to go on; `planned` of them were looked at.
    pub(super) fn begin_message(&mut self, planned: usize) {
        self.calls.begin();
        self.begun = 0;
        self.planned = planned;
        self.procedure = 0;
        self.injected = 0;
        self.unpreparable = None;
        self.executed = None;
        self.walked = false;
        self.cut = None;
        self.preparing.clear();
    }

    /// A call of ours, behind `calls` others in its message, prepares a statement.
    pub(super) fn prepare_ours(&mut self, statement: Arc<Statement>, calls: usize) {
        self.injected += 1;
        // Until its handle is there, it counts as one that can't be prepared.
        self.unpreparable = Some(statement.id());
        self.preparing.clear();
        self.preparing.push_back(Preparing {
            call: calls,
            handle: None,
            statement: Some(statement),
            real: [0; 4],
        });
    }

    /// The server has given a handle to what is prepared first.
    pub(super) fn gave(&mut self, names: Option<&mut Statements>) {
        let Some(given) = self.preparing.pop_front() else {
            return;
        };
        let real = i32::from_le_bytes(given.real);
        let meaning = match given.statement {
            Some(statement) => {
                if self.unpreparable == Some(statement.id()) {
                    self.unpreparable = None;
                }
                let gone = self.prepared.insert(Arc::clone(&statement), real);
                self.stale.extend(gone);
                Meaning::Statement(statement)
            }
            None => Meaning::Fixed(real),
        };
        if let (Some(names), Some(handle)) = (names, given.handle) {
            names.insert(handle, meaning);
        }
    }

    /// The call with this number is answered to its end.
    pub(super) fn end_call(&mut self, call: usize) {
        while self
            .preparing
            .front()
            .is_some_and(|preparing| preparing.call <= call)
        {
            self.preparing.pop_front();
        }
    }

    /// The server does not know, or does not accept, the handle that was used last.
    pub(super) fn lost(&mut self) {
        if let Some(id) = self.executed.take() {
            self.prepared.remove(id);
        }
    }

    pub(super) fn shrink(&mut self) {
        self.parameters = None;
        self.patches.shrink_to(16);
        self.preparing.shrink_to(4);
    }
}

impl Tracker {
    /// Looks at calls before any of them goes on. `None` if they are answered by us: nothing but
    /// handles that the client does not need any more.
    pub(super) fn plan(
        &mut self,
        seen: &Seen<'_>,
        names: Option<&mut Statements>,
    ) -> Result<Option<Staged>, Violation> {
        let mut plan = std::mem::take(&mut self.handles.plan);
        plan.begin();
        let mut staged = Staged {
            findings: Findings::default(),
            missing: None,
            calls: 0,
        };
        let mut unneeded = Vec::new();
        let (mut at, mut procedure) = (0, 0);
        let watches = self.dictionary.watch() != Watch::Nothing;
        loop {
            let (next, heard) = plan.next(seen.body, at);
            at = next;
            match heard {
                None => break,
                Some(Heard::Headers(_) | Heard::Parameters(_) | Heard::Separator(_)) => {}
                Some(Heard::Call(call)) => {
                    staged.calls += 1;
                    procedure = number(call);
                    if watches {
                        staged.findings.effects |= effects_of(call.name);
                    }
                }
                Some(Heard::Handle { at, .. }) => {
                    let value = seen.body.get(at..).and_then(|rest| rest.first_chunk::<4>());
                    let Some(value) = value.map(|bytes| i32::from_le_bytes(*bytes)) else {
                        continue;
                    };
                    match procedure {
                        procedure::UNPREPARE => unneeded.push(value),
                        procedure::EXECUTE => {
                            let names = names.as_deref();
                            self.stage(value, names, &mut staged);
                        }
                        _ => {}
                    }
                }
                Some(Heard::Statement(text)) => {
                    if watches && procedure != procedure::PREPARE {
                        staged.findings.effects |= self.scan_called(text);
                    }
                }
                Some(Heard::NoHandle) => return Err(no_handle()),
                Some(Heard::Lost) => {
                    staged.findings.effects |= Findings::unknown().effects;
                }
            }
        }
        let is_complete = seen.whole && plan.is_complete();
        self.handles.plan = plan;
        if !seen.whole && watches {
            // What comes behind is looked at as it passes, but that is too late for most.
            staged.findings.effects |= Effects::UNKNOWN;
        }
        if let Some(names) = names
            && is_complete
            && !unneeded.is_empty()
            && unneeded.len() == staged.calls
            && seen.status & RESET == 0
            && self.unprepare(&unneeded, Done::MORE | Done::IN_BATCH, names)
        {
            return Ok(None);
        }
        Ok(Some(staged))
    }

    /// Looks at the execution of a prepared statement.
    fn stage(&self, handle: i32, names: Option<&Statements>, staged: &mut Staged) {
        let Some(Meaning::Statement(statement)) = names.and_then(|names| names.get(handle)) else {
            return;
        };
        let findings = statement.findings();
        staged.findings.effects |= findings.effects.without(Effects::LOCAL);
        let is_missing = staged.missing.is_none()
            && self.handles.prepared.get(statement.id()).is_none()
            && self.handles.unpreparable != Some(statement.id())
            && self.handles.injected < MOST_INJECTED;
        if is_missing || (self.reset_wanted && self.handles.injected == 0) {
            // A reset that goes with the request would take what the backend holds.
            staged.missing.get_or_insert_with(|| Arc::clone(statement));
        }
    }

    /// What a text leaves that is called: settings and temporary tables end with it.
    fn scan_called(&mut self, text: Option<&[u8]>) -> Effects {
        let Some(text) = text else {
            return Findings::unknown().effects.without(Effects::LOCAL);
        };
        if self.harmless.knows(text) {
            return Effects::default();
        }
        let findings = scan::scan(text, &mut self.lowered);
        if findings == Findings::default() {
            self.learn_harmless(text);
        }
        findings.effects.without(Effects::LOCAL)
    }

    /// `EXEC sp_unprepare` in a text, as JDBC sends it. Returns whether it is answered.
    pub(super) fn unprepare_in_text(&mut self, text: &[u8], names: &mut Statements) -> bool {
        scan::unprepared(text, &mut self.lowered)
            .is_some_and(|handles| self.unprepare(&handles, Done::MORE, names))
    }

    /// The client does not need handles any more: the backend keeps the statements for whoever
    /// uses them next. Returns whether it is answered: not if one of them is none of the client's.
    fn unprepare(&mut self, handles: &[i32], between: u16, names: &mut Statements) -> bool {
        if !handles
            .iter()
            .all(|&handle| matches!(names.get(handle), Some(Meaning::Statement(_))))
        {
            return false;
        }
        for &handle in handles {
            names.remove(handle);
        }
        message::unprepared(handles.len(), between, self.size, &mut self.replies);
        true
    }

    /// Goes through one packet of calls, and notes what has to be changed in it. `next` is what
    /// follows the packet. Returns whether the packet may go on: not if a handle is cut and its
    /// rest is not here.
    pub(super) fn hear_calls(
        &mut self,
        payload: &[u8],
        header: Header,
        next: &[u8],
        mut names: Option<&mut Statements>,
    ) -> Result<bool, Violation> {
        if !self.handles.walked {
            self.hear(payload, names.as_deref_mut())?;
            self.handles.walked = true;
        }
        if let Some(cut) = self.handles.cut {
            let mut value = cut.value;
            if !header.is_last() {
                let Some(rest) = Header::read(next)?.and_then(|header| header.payload(next)) else {
                    return Ok(false);
                };
                let places = value.iter_mut().skip(cut.count);
                for (place, byte) in places.zip(rest) {
                    *place = *byte;
                }
            }
            self.handles.cut = None;
            let value = self.translate(i32::from_le_bytes(value), names);
            self.handles.rest = value.to_le_bytes();
            self.handles.patches.push(Patch {
                at: cut.at,
                value: value.to_le_bytes(),
                from: 0,
                count: cut.count,
            });
        }
        self.handles.walked = false;
        Ok(true)
    }

    fn hear(
        &mut self,
        payload: &[u8],
        mut names: Option<&mut Statements>,
    ) -> Result<(), Violation> {
        let mut calls = std::mem::take(&mut self.handles.calls);
        let mut at = 0;
        let heard = loop {
            let (next, heard) = calls.next(payload, at);
            at = next;
            match heard {
                None => break Ok(()),
                Some(Heard::Headers(_) | Heard::Separator(_)) => {}
                Some(Heard::Call(call)) => self.call(call, names.as_deref_mut()),
                Some(Heard::Handle { at, from, count }) => {
                    let place = (at, usize::from(from), usize::from(count));
                    self.handle(payload, place, names.as_deref_mut());
                }
                Some(Heard::Parameters(text)) => {
                    // Of sp_executesql, nothing is kept.
                    if self.handles.procedure != procedure::EXECUTE_SQL {
                        self.handles.parameters = text.map(<[u8]>::to_vec);
                    }
                }
                Some(Heard::Statement(text)) => self.statement(text, names.as_deref_mut()),
                Some(Heard::NoHandle) => break Err(no_handle()),
                Some(Heard::Lost) => self.note_findings(Findings::unknown()),
            }
        };
        self.handles.calls = calls;
        heard
    }

    fn call(&mut self, call: Call<'_>, names: Option<&mut Statements>) {
        self.handles.begun += 1;
        self.handles.procedure = number(call);
        self.handles.parameters = Some(Vec::new());
        if let Name::Text(name) = call.name
            && is_reset(name)
        {
            self.reset_by_client(RESET, names);
        }
        if self.handles.begun > self.handles.planned && self.dictionary.watch() != Watch::Nothing {
            self.note(effects_of(call.name));
        }
    }

    /// Bytes of a handle: where, from which on, how many.
    fn handle(
        &mut self,
        payload: &[u8],
        (at, from, count): (usize, usize, usize),
        names: Option<&mut Statements>,
    ) {
        if names.is_none() {
            return;
        }
        if from > 0 {
            let value = self.handles.rest;
            self.handles.patches.push(Patch {
                at,
                value,
                from,
                count,
            });
            return;
        }
        let mut value = [0; 4];
        let here = payload.get(at..at + count).unwrap_or_default();
        for (place, byte) in value.iter_mut().zip(here) {
            *place = *byte;
        }
        if count < value.len() {
            self.handles.cut = Some(Cut { at, value, count });
            return;
        }
        let value = self.translate(i32::from_le_bytes(value), names);
        self.handles
            .patches
            .push(Patch::whole(at, value.to_le_bytes()));
    }

    /// The server's handle for a client's, in the present call.
    fn translate(&mut self, handle: i32, names: Option<&mut Statements>) -> i32 {
        let Some(names) = names else {
            return handle;
        };
        match self.handles.procedure {
            procedure::EXECUTE => match names.get(handle) {
                Some(Meaning::Statement(statement)) => {
                    let id = statement.id();
                    self.handles.executed = Some(id);
                    self.handles.prepared.touch(id).unwrap_or(NO_HANDLE)
                }
                Some(Meaning::Fixed(real)) => *real,
                None => NO_HANDLE,
            },
            procedure::UNPREPARE => match names.remove(handle) {
                Some(Meaning::Statement(statement)) => {
                    let held = self.handles.prepared.remove(statement.id());
                    held.unwrap_or(NO_HANDLE)
                }
                Some(Meaning::Fixed(real)) => real,
                None => NO_HANDLE,
            },
            // Prepared anew: the old one is not needed any more, except by others.
            _ => {
                names.remove(handle);
                NO_HANDLE
            }
        }
    }

    /// The text of a statement; its call's declaration of parameters came before, or will come
    /// (sp_executesql).
    fn statement(&mut self, text: Option<&[u8]>, names: Option<&mut Statements>) {
        let procedure = self.handles.procedure;
        let watches = self.dictionary.watch() != Watch::Nothing;
        let is_planned = self.handles.begun <= self.handles.planned;
        if watches && !is_planned && procedure != procedure::PREPARE {
            let effects = self.scan_called(text);
            self.note(effects);
        }
        if procedure == procedure::EXECUTE_SQL {
            return;
        }
        let Some(names) = names else {
            return self.note(Effects::PREPARED);
        };
        let statement = match (text, &self.handles.parameters) {
            (Some(text), Some(parameters)) => {
                Some(self.dictionary.intern(names.context(), parameters, text))
            }
            _ => None,
        };
        if statement.is_none() {
            self.note(Effects::PREPARED);
        }
        let call = self.handles.begun.saturating_sub(1);
        self.handles.preparing.push_back(Preparing {
            call,
            handle: Some(names.next_handle()),
            statement,
            real: [0; 4],
        });
    }
}

fn no_handle() -> Violation {
    Violation::Malformed {
        what: "a call",
        why: "the handle of a prepared statement",
    }
}

fn number(call: Call<'_>) -> u16 {
    match call.name {
        Name::Known(number) => number,
        Name::Text(_) => 0,
    }
}

/// What a call leaves, by its name; for texts, they say it.
fn effects_of(name: Name<'_>) -> Effects {
    match name {
        Name::Known(
            procedure::EXECUTE_SQL
            | procedure::PREPARE
            | procedure::EXECUTE
            | procedure::PREPARE_AND_EXECUTE
            | procedure::UNPREPARE,
        ) => Effects::default(),
        Name::Known(procedure::PREPARE_RPC) => Effects::PREPARED | Effects::CODE | Effects::ADVANCE,
        Name::Known(number) if number <= procedure::LAST_CURSOR => Effects::CURSOR,
        Name::Known(_) => Findings::unknown().effects,
        Name::Text(name) if is_reset(name) => Effects::default(),
        Name::Text(name) => {
            let mut buffer = [0; 128];
            match ascii_lower(name, &mut buffer) {
                Some(name) => scan::effects_of_procedure(last_part(name)),
                None => Effects::CODE | Effects::ADVANCE,
            }
        }
    }
}

/// `mine` of `[db].[dbo].[mine]`; number and all, so that `mine;2` is not known.
fn last_part(name: &[u8]) -> &[u8] {
    let part = name.rsplit(|&byte| byte == b'.').next().unwrap_or(name);
    part.strip_prefix(b"[")
        .and_then(|part| part.strip_suffix(b"]"))
        .unwrap_or(part)
}

/// Some pools of clients call what others do by a bit.
fn is_reset(name: &[u8]) -> bool {
    let mut buffer = [0; 64];
    ascii_lower(name, &mut buffer).is_some_and(|name| last_part(name) == b"sp_reset_connection")
}
