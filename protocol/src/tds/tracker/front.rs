//! Hot path: no allocation per packet, no copies of passing bytes. From the client to the server.

use std::sync::Arc;

use super::handles::Patch;
use super::{Fate, Tracker, Values, Whose};
use crate::Sink;
use crate::tds::Violation;
use crate::tds::effect::Effects;
use crate::tds::lazy;
use crate::tds::legacy::PRESENT_TRANSACTION;
use crate::tds::message::{self, Report};
use crate::tds::packet::{self, HEADER, Header, Kind};
use crate::tds::reader::Reader;
use crate::tds::refusal;
use crate::tds::scan::lexer::lower;
use crate::tds::scan::{self, Findings};
use crate::tds::settings::{Change, leading};
use crate::tds::statements::{Statement, Statements, Watch};
use crate::tds::token::{DONE, Done};

/// As much of a batch is waited for before any of it is sent, in bytes of its packets: its text is
/// looked at, if it is no longer.
const LARGEST_BATCH: usize = scan::LONGEST + 2 * 1024;
/// The same for calls: a statement's text is kept up to 64 KiB.
const LARGEST_CALLS: usize = 72 * 1024;
/// No more of a client's bytes has to be held at a time, in bytes.
pub const BUFFER: usize = LARGEST_CALLS + packet::LARGEST;

/// What [`Tracker::front`] made of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes done with. What is left begins a packet that has to be given again.
    pub bytes: usize,
    /// What is left has to wait for an answer of the server's, or a reply of ours.
    pub stalled: bool,
}

/// What becomes of a packet.
enum Action {
    /// So many bytes are done with.
    Took(usize),
    /// More of the client is needed.
    Wait,
    /// Something has to come back first.
    Stall,
}

/// What becomes of a request that was looked at.
pub(super) enum Decision {
    /// It goes on.
    Pass,
    /// It goes nowhere: its answer is in `replies`.
    Answered,
    /// The backend has to get this statement first.
    Prepare(Arc<Statement>),
    /// It has to let go of others first.
    Unprepare,
}

/// A message, as far as it is here.
pub(super) struct Seen<'m> {
    /// What its packets carry.
    pub(super) body: &'m [u8],
    /// Whether that is all.
    pub(super) whole: bool,
    /// The bytes of the packets.
    bytes: usize,
    /// The status of the first one.
    pub(super) status: u8,
    /// Whether its last packet says that the client has changed its mind.
    ignored: bool,
}

impl Seen<'_> {
    fn resets(&self) -> bool {
        self.status & (packet::RESET | packet::RESET_KEEPING_TRANSACTION) != 0
    }
}

impl Tracker {
    /// Takes what the client sent; `out` gets what the server shall see. Only whole packets are
    /// taken.
    ///
    /// With `names`, prepared statements have handles of ours, so that the client finds them on
    /// any backend; without, everything passes as it is.
    ///
    /// # Errors
    /// [`Violation`]; the client's connection is of no use after it.
    pub fn front(
        &mut self,
        input: &[u8],
        mut names: Option<&mut Statements>,
        out: &mut impl Sink,
    ) -> Result<Taken, Violation> {
        let mut at = 0;
        let mut stalled = false;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let Some(header) = Header::read(rest)? else {
                break;
            };
            if header.total() > self.size {
                return Err(Violation::TooLarge {
                    what: "a packet",
                    limit: self.size,
                });
            }
            if rest.len() < header.total() {
                break;
            }
            let action = match (header.kind, self.sending) {
                (Kind::Attention, None) => {
                    self.attend(out);
                    Action::Took(header.total())
                }
                (kind, Some(sending)) if kind == sending => {
                    self.forward(header, rest, names.as_deref_mut(), out)?
                }
                (kind, Some(_)) => {
                    return Err(Violation::OutOfSync {
                        kind: kind.byte(),
                        expected: "the rest of a request",
                    });
                }
                (Kind::Batch | Kind::Rpc | Kind::Bulk | Kind::Transaction, None) => {
                    self.begin(header, rest, names.as_deref_mut(), out)?
                }
                (kind, None) => return Err(Violation::Kind { kind: kind.byte() }),
            };
            match action {
                Action::Took(bytes) => at += bytes,
                Action::Wait => break,
                Action::Stall => {
                    stalled = true;
                    break;
                }
            }
        }
        Ok(Taken { bytes: at, stalled })
    }

    /// An attention is for the request under way. One that comes late has its answer all the same.
    fn attend(&mut self, out: &mut impl Sink) {
        if self.attention {
            return;
        }
        match &self.owed {
            Some(owed) if owed.fate == Fate::Forward => {
                out.put(&message::ATTENTION);
                self.attention = true;
            }
            _ => message::attention_heard(&mut self.replies),
        }
    }

    /// A request begins.
    fn begin(
        &mut self,
        header: Header,
        rest: &[u8],
        mut names: Option<&mut Statements>,
        out: &mut impl Sink,
    ) -> Result<Action, Violation> {
        if self.is_busy() {
            return Ok(Action::Stall);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let looks = self.looks(names.as_deref());
        let limit = match header.kind {
            Kind::Batch if looks => LARGEST_BATCH,
            Kind::Rpc if looks => LARGEST_CALLS,
            _ => 0,
        };
        let decided = match look(header, rest, limit, &mut gathered) {
            Ok(Some(seen)) => self
                .decide(header.kind, &seen, names.as_deref_mut())
                .map(|decision| Some((decision, seen.bytes))),
            Ok(None) => Ok(None),
            Err(violation) => Err(violation),
        };
        self.gathered = gathered;
        match decided? {
            None => Ok(Action::Wait),
            Some((Decision::Answered, bytes)) => Ok(Action::Took(bytes)),
            Some((Decision::Prepare(statement), _)) => {
                let mut ours = Vec::new();
                self.inject_prepare(&statement, &mut ours);
                out.put(&ours);
                Ok(Action::Stall)
            }
            Some((Decision::Unprepare, _)) => {
                let mut ours = Vec::new();
                self.inject_unprepare(&mut ours);
                out.put(&ours);
                Ok(Action::Stall)
            }
            Some((Decision::Pass, _)) => {
                if header.resets() {
                    self.reset_wanted = false;
                    self.reset_by_client(header.status, names.as_deref_mut());
                }
                self.forward(header, rest, names, out)
            }
        }
    }

    /// Looks at a request before any of it goes on. If it does, it is booked.
    fn decide(
        &mut self,
        kind: Kind,
        seen: &Seen<'_>,
        names: Option<&mut Statements>,
    ) -> Result<Decision, Violation> {
        self.bulk &= kind == Kind::Bulk;
        if seen.ignored {
            // What the server would say (2.2.1.7).
            message::answer(self.size, &mut self.replies, |out| {
                message::done(out, DONE, Done::ERROR, 0);
            });
            return Ok(Decision::Answered);
        }
        let looks = self.looks(names.as_deref());
        if kind == Kind::Bulk {
            self.owe(kind, Fate::Forward);
            return Ok(Decision::Pass);
        }
        let headers = Headers::read(seen.body).ok_or(Violation::Malformed {
            what: "a request",
            why: "its headers",
        })?;
        let behind = seen.body.get(headers.length..).unwrap_or_default();
        let decision = match kind {
            Kind::Batch if looks => self.batch(behind, seen, names),
            Kind::Rpc if looks => self.calls(seen, names)?,
            Kind::Transaction => {
                self.owe(kind, Fate::Forward);
                match behind {
                    // GET_DTC_ADDRESS, PROPAGATE, PROMOTE.
                    [0 | 1 | 6, 0, ..] => self.note(Effects::DISTRIBUTED),
                    [5, 0, ..] => self.transaction.nested |= self.is_in_transaction(),
                    // COMMIT, ROLLBACK without a savepoint: perhaps of what a text has begun.
                    [7, 0, name, rest @ ..] if !begins_anew(*name, rest) => self.note(Effects::END),
                    [8, 0, 0, rest @ ..] if !begins_anew(0, rest) => self.note(Effects::END),
                    _ => {}
                }
                if self.dictionary.watch() != Watch::Nothing
                    && let Some(owed) = &mut self.owed
                {
                    owed.changes.extend(Change::isolation(behind));
                }
                Decision::Pass
            }
            _ => {
                self.owe(kind, Fate::Forward);
                Decision::Pass
            }
        };
        if matches!(decision, Decision::Pass) {
            if headers.notifies {
                self.note(Effects::NOTIFICATION);
            }
            if let Some(at) = headers.descriptor_at {
                self.translate_descriptor(seen.body, at);
            }
        }
        Ok(decision)
    }

    /// The transaction that a request belongs to, in the server's words.
    fn translate_descriptor(&mut self, body: &[u8], at: usize) {
        let said = body.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let Some(said) = said.map(|bytes| u64::from_le_bytes(*bytes)) else {
            return;
        };
        let is_alias = self.transaction.alias == Some(said) || said == PRESENT_TRANSACTION;
        // Without a transaction, its client was told of the end of that one; another backend knows
        // nothing of it.
        if said != 0 && (self.transaction.descriptor == 0 || is_alias) {
            let [a, b, c, d, e, f, g, h] = self.transaction.descriptor.to_le_bytes();
            self.handles.patches.push(Patch::whole(at, [a, b, c, d]));
            self.handles
                .patches
                .push(Patch::whole(at + 4, [e, f, g, h]));
        }
    }

    /// Whether anything of a request is looked at, or everything passes.
    fn looks(&self, names: Option<&Statements>) -> bool {
        names.is_some() || self.dictionary.watch() != Watch::Nothing
    }

    fn calls(
        &mut self,
        seen: &Seen<'_>,
        names: Option<&mut Statements>,
    ) -> Result<Decision, Violation> {
        let Some(staged) = self.plan(seen, names)? else {
            return Ok(Decision::Answered);
        };
        if let Some(report) = self.refuses(staged.findings, seen) {
            return Ok(self.refuse(&report));
        }
        if let Some(statement) = staged.missing {
            return Ok(Decision::Prepare(statement));
        }
        if self.handles.has_many_stale() {
            return Ok(Decision::Unprepare);
        }
        self.owe(Kind::Rpc, Fate::Forward);
        self.note_findings(staged.findings);
        self.handles.begin_message(staged.calls);
        Ok(Decision::Pass)
    }

    fn batch(&mut self, text: &[u8], seen: &Seen<'_>, names: Option<&mut Statements>) -> Decision {
        if seen.whole && self.harmless.knows(text) {
            self.owe(Kind::Batch, Fate::Forward);
            return Decision::Pass;
        }
        if let Some(names) = names.filter(|_| seen.whole && !seen.resets())
            && self.unprepare_in_text(text, names)
        {
            return Decision::Answered;
        }
        if self.dictionary.watch() == Watch::Nothing {
            self.owe(Kind::Batch, Fate::Forward);
            return Decision::Pass;
        }
        if !seen.whole {
            self.owe(Kind::Batch, Fate::Forward);
            self.note_findings(Findings::unknown());
            return Decision::Pass;
        }
        lower(text, &mut self.lowered);
        let (changes, behind) = leading(text, &self.lowered);
        let findings = match self.lowered.get(behind..) {
            None | Some([]) => Findings::default(),
            Some(rest) => scan::scan_lowered(rest),
        };
        if let Some(report) = self.refuses(findings, seen) {
            return self.refuse(&report);
        }
        if changes.is_empty() && findings == Findings::default() {
            self.learn_harmless(text);
        }
        self.owe(Kind::Batch, Fate::Forward);
        self.note_findings(findings);
        if findings.effects.any(Effects::BEGIN) && lazy::only_begins(text) {
            self.note(Effects::ONLY_BEGINS);
        }
        if changes
            .iter()
            .any(|change| change.key() == "implicit_transactions")
        {
            self.note(Effects::IMPLICIT);
        }
        // Others behind them: together they can't be repeated.
        if findings.effects.any(Effects::SETTING | Effects::UNKNOWN) {
            self.note(Effects::SETTING);
        } else if let Some(owed) = &mut self.owed {
            owed.changes = changes;
        }
        Decision::Pass
    }

    /// The scan has found nothing in a text.
    pub(super) fn learn_harmless(&mut self, text: &[u8]) {
        // What lets go of a handle is answered by us as soon as the handle is the client's.
        if scan::unprepared(text, &mut self.lowered).is_none() {
            self.harmless.learn(text);
        }
    }

    /// What is to be said instead of passing a request on.
    fn refuses(&self, findings: Findings, seen: &Seen<'_>) -> Option<Report> {
        // What is sent in part already can't be taken back, and a reset may be wanted.
        if !seen.whole || seen.resets() {
            return None;
        }
        if self.dictionary.watch() == Watch::Strictly && findings.effects.any(Effects::STATE) {
            return Some(refusal::leaves_state());
        }
        let foreign = self.values == Values::Foreign && findings.effects.any(Effects::RECALL);
        foreign.then(refusal::recalls)
    }

    fn refuse(&mut self, report: &Report) -> Decision {
        report.encode(self.size, &mut self.replies);
        Decision::Answered
    }

    /// The client resets its session: nothing that it had is there any more.
    pub(super) fn reset_by_client(&mut self, status: u8, names: Option<&mut Statements>) {
        self.begin_reset(Whose::Client, status);
        if let Some(names) = names {
            names.clear();
        }
    }

    /// Sends one packet on, with the changes that it needs.
    fn forward(
        &mut self,
        header: Header,
        rest: &[u8],
        names: Option<&mut Statements>,
        out: &mut impl Sink,
    ) -> Result<Action, Violation> {
        let total = header.total();
        let packet = rest.get(..total).unwrap_or_default();
        let payload = packet.get(HEADER..).unwrap_or_default();
        if header.kind == Kind::Rpc && self.looks(names.as_deref()) {
            let next = rest.get(total..).unwrap_or_default();
            if !self.hear_calls(payload, header, next, names)? {
                return Ok(Action::Wait);
            }
        }
        let mut status = header.status;
        let begins = self.sending.is_none();
        if begins && header.kind != Kind::Bulk && std::mem::take(&mut self.reset_wanted) {
            // What it executes has been prepared behind a reset of its own: see `stage`.
            self.begin_reset(Whose::Ours, packet::RESET);
            status |= packet::RESET;
        }
        if header.is_last() && header.status & packet::IGNORE != 0 {
            self.withdrawn();
        }
        self.emit(packet, status, out);
        self.sending = (!header.is_last()).then_some(header.kind);
        Ok(Action::Took(total))
    }

    /// The server drops the message (2.2.1.7), and with it a reset of ours that rode on it.
    fn withdrawn(&mut self) {
        if self.reset.is_some_and(|reset| reset.whose == Whose::Ours) {
            self.reset = None;
            self.reset_wanted = true;
        }
    }

    fn emit(&mut self, packet: &[u8], status: u8, out: &mut impl Sink) {
        let mut run = 0;
        let kept = packet.get(1).copied().unwrap_or_default();
        if status != kept {
            out.put(packet.get(..1).unwrap_or_default());
            out.put(&[status]);
            run = 2;
        }
        for patch in self.handles.patches.drain(..) {
            let at = HEADER + patch.at;
            out.put(packet.get(run..at).unwrap_or_default());
            out.put(patch.bytes());
            run = at + patch.bytes().len();
        }
        out.put(packet.get(run..).unwrap_or_default());
    }
}

/// Looks at a message up to `limit` bytes of its packets, but at one packet at least. `None`
/// while more of it should be here.
fn look<'m>(
    header: Header,
    rest: &'m [u8],
    limit: usize,
    gathered: &'m mut Vec<u8>,
) -> Result<Option<Seen<'m>>, Violation> {
    let first = header.payload(rest).unwrap_or_default();
    let seen = |body: &'m [u8], last: Header, bytes: usize| {
        Ok(Some(Seen {
            body,
            whole: last.is_last(),
            bytes,
            status: header.status,
            ignored: last.is_last() && last.status & packet::IGNORE != 0,
        }))
    };
    if header.is_last() || limit == 0 {
        return seen(first, header, header.total());
    }
    gathered.clear();
    gathered.extend_from_slice(first);
    let mut at = header.total();
    loop {
        if at > limit {
            return seen(gathered, header, at);
        }
        let packet = rest.get(at..).unwrap_or_default();
        let Some(next) = Header::read(packet)? else {
            return Ok(None);
        };
        let Some(payload) = next.payload(packet) else {
            return Ok(None);
        };
        if next.kind != header.kind {
            return Err(Violation::OutOfSync {
                kind: next.kind.byte(),
                expected: "the rest of a request",
            });
        }
        gathered.extend_from_slice(payload);
        at += next.total();
        if next.is_last() {
            return seen(gathered, next, at);
        }
    }
}

/// ALL_HEADERS (2.2.5.3).
struct Headers {
    length: usize,
    /// Where the transaction's descriptor stands.
    descriptor_at: Option<usize>,
    notifies: bool,
}

impl Headers {
    fn read(body: &[u8]) -> Option<Self> {
        let length = usize::try_from(Reader::new(body).u32()?).ok()?;
        let mut headers = Self {
            length,
            descriptor_at: None,
            notifies: false,
        };
        let mut at = 4;
        while at < length {
            let mut reader = Reader::new(body.get(at..length)?);
            let size = usize::try_from(reader.u32()?).ok()?;
            if size < 6 {
                return None;
            }
            match reader.u16()? {
                1 => headers.notifies = true,
                2 if size >= 14 => headers.descriptor_at = Some(at + 6),
                _ => {}
            }
            at = at.checked_add(size)?;
        }
        (at == length).then_some(headers)
    }
}

/// Whether a COMMIT or ROLLBACK begins the next transaction at once: a flag behind the name of
/// `name` characters (MS-TDS 2.2.6.9).
fn begins_anew(name: u8, rest: &[u8]) -> bool {
    rest.get(2 * usize::from(name))
        .is_some_and(|flags| flags & 1 != 0)
}
