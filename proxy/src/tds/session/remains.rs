//! What a session leaves behind at a request's end: what can be carried, what pins, and what the
//! server has to be asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use entrapool_metrics::{Label as _, PinGuard, PinReason, ProbeResult};
use entrapool_protocol::Sink;
use entrapool_protocol::tds::effect::Effects;
use entrapool_protocol::tds::probe::Answer;
use entrapool_protocol::tds::settings::Settings;
use entrapool_protocol::tds::tracker::{Fact, Values, Whose};

use super::Session;
use super::relay::Hold;
use crate::config::{PinOnExec, PoolMode};
use crate::session::pin::{Client, Verdict};

/// State that stays on a backend, and the reason to give for it.
const REASONS: [(Effects, PinReason); 18] = [
    (Effects::TEMP_TABLE, PinReason::TempTable),
    (Effects::GLOBAL_TABLE, PinReason::TempTable),
    (Effects::APP_LOCK, PinReason::AdvisoryLock),
    (Effects::CURSOR, PinReason::Cursor),
    (Effects::PREPARED, PinReason::Prepared),
    (Effects::SETTING, PinReason::Setting),
    (Effects::IMPLICIT, PinReason::Setting),
    (Effects::TAINTED, PinReason::AppRole),
    (Effects::EXECUTE_AS, PinReason::AppRole),
    (Effects::CONTEXT, PinReason::Context),
    (Effects::SESSION_CONTEXT, PinReason::Context),
    (Effects::TRACE, PinReason::TraceFlag),
    (Effects::HANDLE, PinReason::XmlHandle),
    (Effects::DISTRIBUTED, PinReason::Distributed),
    (Effects::ADVANCE, PinReason::Identity),
    (Effects::CODE, PinReason::Procedure),
    (Effects::NOTIFICATION, PinReason::Unknown),
    (Effects::UNKNOWN, PinReason::Unknown),
];

/// What the server can be asked for.
const ASKABLE: Effects = Effects::TEMP_TABLE
    .with(Effects::NESTED)
    .with(Effects::APP_LOCK)
    .with(Effects::CURSOR)
    .with(Effects::CONTEXT);

/// What nobody can be asked for: it is there until the client ends, or resets its session.
const TO_THE_END: Effects = Effects::GLOBAL_TABLE
    .with(Effects::PREPARED)
    .with(Effects::SETTING)
    .with(Effects::TAINTED)
    .with(Effects::SESSION_CONTEXT)
    .with(Effects::EXECUTE_AS)
    .with(Effects::TRACE)
    .with(Effects::HANDLE)
    .with(Effects::DISTRIBUTED)
    .with(Effects::NOTIFICATION)
    .with(Effects::UNKNOWN);

/// What may have begun a transaction of which the server has not told.
const MAY_HAVE_BEGUN: Effects = Effects::CODE.with(Effects::UNKNOWN);

/// What keeps a session's backend with it.
pub(super) struct Pins {
    state: Effects,
    guard: PinGuard,
}

impl Session {
    /// What the session can't take to another backend.
    pub(super) fn pinned(&self) -> Effects {
        self.pins
            .as_ref()
            .map_or_else(Effects::default, |pins| pins.state)
    }

    /// The client's request is answered: what it made different.
    pub(super) fn note(&mut self, hold: &mut Hold) {
        let effects = hold.lease.tracker.take_effects();
        for (whose, fact) in hold.lease.tracker.take_facts() {
            match (whose, fact) {
                (Whose::Client, Fact::Settings(changes)) => {
                    let mut settings = Settings::clone(&self.settings);
                    if !settings.apply(&changes) {
                        hold.lease.residue |= Effects::SETTING;
                    }
                    self.own(hold, settings);
                }
                (Whose::Client, Fact::Reset) => self.was_reset(hold, Effects::default()),
                (Whose::Client, Fact::ResetInside) => self.was_reset(hold, MAY_HAVE_BEGUN),
                // USE among other things says so in its text, too; the rest is told for clients.
                (_, Fact::Database(_) | Fact::Language(_) | Fact::Collation(_))
                | (Whose::Ours, Fact::Settings(_)) => {}
                // It rode on the client's request.
                (Whose::Ours, Fact::Reset | Fact::ResetInside) => {
                    hold.lease.state = hold.lease.tracker.state().first_hash();
                }
            }
        }
        if effects.any(Effects::BEGIN)
            && let Some(tells) = hold.lease.tracker.announces_transactions()
        {
            self.pool.shared().announcing.learn(tells);
        }
        if !effects.is_empty() {
            let left = self.advance(effects);
            hold.lease.residue |= left;
            if effects.any(Effects::RELEASE | Effects::CODE) {
                hold.lease.residue |= self.pinned().only(ASKABLE);
            }
        }
        if self.route.mode() == PoolMode::Transaction {
            // The next borrower begins with a reset: what that does not undo matters.
            hold.lease.residue = hold.lease.residue.only(Effects::TAINTED);
        } else {
            self.compare_state(hold);
        }
    }

    /// The client has reset its session. `kept` is what may have left something all the same.
    fn was_reset(&mut self, hold: &mut Hold, kept: Effects) {
        self.own(hold, Settings::default());
        let lease = &mut hold.lease;
        lease.state = lease.tracker.state().first_hash();
        lease.residue = lease.residue.only(kept);
        lease.soiled &= !kept.is_empty();
        self.pin(self.pinned().only(kept));
    }

    /// A request of ours is answered: what it made different is as it should be.
    pub(super) fn adapted(hold: &mut Hold) {
        let _ = hold.lease.tracker.take_facts();
        hold.lease.tracker.set_values(Values::Foreign);
        hold.lease.state = hold.lease.tracker.state().hash();
    }

    /// The session's settings, on its backend, are these now.
    fn own(&mut self, hold: &mut Hold, settings: Settings) {
        self.statements.set_context(settings.context());
        self.settings = Arc::new(settings);
        hold.lease.applied = Arc::clone(&self.settings);
        hold.lease.state = hold.lease.tracker.state().hash();
    }

    /// A server that tells of the session's state has told of something that no text showed.
    fn compare_state(&self, hold: &mut Hold) {
        let state = hold.lease.tracker.state();
        if !state.is_told() {
            return;
        }
        let hash = state.hash();
        if !state.is_recoverable() {
            // Of which kind, the text may have said; else the server is asked for all.
            if !(hold.lease.residue | self.pinned()).any(ASKABLE | TO_THE_END) {
                hold.lease.residue |= ASKABLE;
            }
        } else if hash != hold.lease.state
            && !(hold.lease.residue | self.pinned()).any(ASKABLE | TO_THE_END)
        {
            hold.lease.residue |= Effects::SETTING;
        }
        hold.lease.state = hash;
    }

    /// Notes who asks for what earlier requests left (`@@IDENTITY`): from then on, whoever makes
    /// such values keeps its backend. Returns what may be left.
    fn advance(&self, effects: Effects) -> Effects {
        let recalls = &self.pool.shared().recalls;
        if effects.any(Effects::RECALL) {
            recalls.store(true, Ordering::Relaxed);
        }
        let passing = Effects::RECALL
            .with(Effects::ADVANCE)
            .with(Effects::BEGIN)
            .with(Effects::END)
            .with(Effects::NAMED_END)
            .with(Effects::SEVERAL)
            .with(Effects::ONLY_BEGINS)
            .with(Effects::RELEASE)
            .with(Effects::BULK);
        let mut left = effects.without(passing);
        if !self.pinned().any(ASKABLE) {
            left = left.without(Effects::RELEASE);
        }
        match effects.any(Effects::ADVANCE) && recalls.load(Ordering::Relaxed) {
            true => left | Effects::ADVANCE,
            false => left,
        }
    }

    /// Nothing is under way: whether the backend may go. If the server has to be asked first,
    /// the question is staged.
    #[inline]
    pub(super) fn at_boundary(&mut self, hold: &mut Hold) -> Verdict {
        let verdict = self.verdict(hold, Client::Here);
        if verdict != Verdict::Probe {
            return verdict;
        }
        let suspected = std::mem::take(&mut hold.lease.residue);
        if suspected.any(Effects::CODE) {
            // Its caller finds whatever it left; the next client begins with a reset.
            hold.lease.soiled = true;
        }
        let mut raised = suspected.only(ASKABLE);
        if suspected.any(Effects::RELEASE) {
            raised |= self.pinned().only(ASKABLE);
        }
        if suspected.any(Effects::UNKNOWN) && hold.lease.tracker.state().is_told() {
            // A text that nobody read: the server tells of settings, and is asked for the rest.
            hold.lease.soiled = true;
            raised |= ASKABLE;
        }
        let asked = raised | self.pinned().only(ASKABLE);
        if !raised.is_empty() && !self.is_excused(hold, raised) {
            let mut question = Vec::new();
            if hold.lease.tracker.inject_probe(&mut question) {
                hold.lease.wire.put(&question);
                hold.suspected = Some(suspected | asked);
                return Verdict::Probe;
            }
        }
        let kept = self.pinned().without(self.excused(hold));
        self.pin(self.lasting(hold, suspected) | kept);
        self.verdict(hold, Client::Here)
    }

    /// Of what was suspected, what stays though nobody can be asked for it.
    fn lasting(&self, hold: &Hold, suspected: Effects) -> Effects {
        let mut state = suspected.only(TO_THE_END.with(Effects::ADVANCE));
        if hold.lease.tracker.state().is_told() && !hold.lease.tracker.is_opaque() {
            state = state.without(Effects::UNKNOWN);
        }
        state |= self.pinned().only(TO_THE_END.with(Effects::ADVANCE));
        if suspected.any(Effects::CODE) && self.route.options.pin_on_exec == PinOnExec::Always
            || self.pinned().any(Effects::CODE)
        {
            state |= Effects::CODE;
        }
        // Where the server tells of each transaction, no text has to.
        if self.begins_transactions() && hold.lease.tracker.announces_transactions() != Some(true) {
            state |= Effects::IMPLICIT;
        }
        state
    }

    /// SET IMPLICIT_TRANSACTIONS ON.
    fn begins_transactions(&self) -> bool {
        let mut changes = self.settings.changes().iter();
        changes
            .any(|change| change.key() == "implicit_transactions" && change.text().ends_with(" on"))
    }

    /// Whether the server's word is taken that nothing of what was suspected is there.
    fn is_excused(&self, hold: &Hold, suspected: Effects) -> bool {
        !self.excused(hold).is_empty()
            && suspected
                .only(ASKABLE)
                .without(self.excused(hold))
                .is_empty()
    }

    /// What is not there if the server is to be believed.
    fn excused(&self, hold: &Hold) -> Effects {
        let state = hold.lease.tracker.state();
        match self.route.options.trust_session_state && state.is_told() && state.is_recoverable() {
            true => ASKABLE,
            false => Effects::default(),
        }
    }

    /// The server has answered.
    pub(super) fn learn(&mut self, hold: &mut Hold, tokens: &[u8]) {
        let Some(suspected) = hold.suspected.take() else {
            return;
        };
        let _ = hold.lease.tracker.take_effects();
        let _ = hold.lease.tracker.take_facts();
        let asked = suspected.only(ASKABLE).without(Effects::NESTED);
        let answer = Answer::read(tokens);
        let transactions = answer.as_ref().map_or(1, |answer| answer.transactions);
        if transactions > 0 && suspected.any(Effects::NESTED) {
            // The rest is asked for when that one has ended.
            hold.lease.tracker.in_transaction();
            hold.lease.residue |= suspected.without(Effects::NESTED);
            return self.route.metrics.probes.inc(ProbeResult::Pinned);
        }
        let (found, failed) = match answer {
            Ok(answer) if answer.found.any(Effects::UNKNOWN) => (answer.found | asked, true),
            Ok(answer) => (answer.found, false),
            Err(error) => {
                tracing::debug!(route = self.route.config.name, %error, "the server did not say what a session has left; it keeps its backend");
                (asked, true)
            }
        };
        if !failed {
            hold.lease.tracker.no_transaction();
        }
        let mut state = found.only(ASKABLE) | self.lasting(hold, suspected);
        let told = hold.lease.tracker.state();
        if told.is_told() && !told.is_recoverable() && state.is_empty() {
            // There is something that nobody has a name for.
            state = Effects::UNKNOWN;
        }
        self.route.metrics.probes.inc(if failed {
            ProbeResult::Failed
        } else if state.is_empty() {
            ProbeResult::Clean
        } else {
            ProbeResult::Pinned
        });
        self.pin(state);
    }

    /// From now on, this and nothing else keeps the backend.
    fn pin(&mut self, state: Effects) {
        if state == self.pinned() {
            return;
        }
        let mut pins = self.pins.take().unwrap_or_else(|| {
            Box::new(Pins {
                state,
                guard: self.route.metrics.pins.session(),
            })
        });
        pins.state = state;
        let reasons = REASONS.iter().filter(|(effect, _)| state.any(*effect));
        let reasons = reasons.map(|&(_, reason)| reason);
        self.registered.entry.pinned_for(reasons);
        for &reason in PinReason::ALL {
            let holds = REASONS
                .iter()
                .any(|&(effect, because)| because == reason && state.any(effect));
            if pins.guard.set(reason, holds) {
                tracing::debug!(
                    route = self.route.config.name,
                    pid = self.registered.pid(),
                    reason = reason.value(),
                    pinned = holds,
                    "what keeps a session's backend has changed"
                );
            }
        }
        self.pins = (!state.is_empty()).then_some(pins);
    }
}
