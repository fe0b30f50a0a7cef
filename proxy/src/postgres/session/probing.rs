//! What a session leaves behind at a transaction's end: asking the server, and what follows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use entrapool_metrics::{PinGuard, PinReason, ProbeResult};
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::Violation;
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::probe::{self, Answer};
use entrapool_protocol::postgres::settings::Settings;

use super::Session;
use super::relay::Hold;
use crate::postgres::adapt::adapt;
use crate::postgres::precedent;
use crate::session::pin::{Client, Verdict};

/// Custom settings that one session may name; beyond, their names count as unknown.
const MOST_CUSTOM: usize = 64;

/// State that stays on a backend, and the reason to give for it.
const REASONS: [(Effects, PinReason); 9] = [
    (Effects::RELATION, PinReason::TempTable),
    (Effects::LOCK, PinReason::AdvisoryLock),
    (Effects::CURSOR, PinReason::Cursor),
    (Effects::LISTEN, PinReason::Listen),
    (Effects::PREPARE, PinReason::Prepared),
    (Effects::SETTING, PinReason::Setting),
    (Effects::UNNAMED, PinReason::Setting),
    (Effects::SEQUENCE, PinReason::Sequence),
    (Effects::HIDDEN, PinReason::Hidden),
];

/// What no server can be asked for: it is there until the client ends.
const TO_THE_END: Effects = Effects::UNNAMED
    .with(Effects::SEQUENCE)
    .with(Effects::HIDDEN);

/// What keeps a session's backend with it.
pub(super) struct Pins {
    state: Effects,
    /// The channels of `LISTEN`, as far as they are known.
    channels: Vec<Box<[u8]>>,
    guard: PinGuard,
}

/// A question under way.
pub(super) struct Probe {
    /// What raised it.
    pub(super) suspected: Effects,
    /// Whether the server answered with an error.
    pub(super) failed: bool,
    /// Whether the client's next request has to wait for the answer: something may have been
    /// reset, and goes back to what the client began with.
    pub(super) holds_requests: bool,
    asked: Effects,
    answer: Answer,
    /// The text that it is about, if that is all of it, and the settings before it.
    about: Option<(Box<[u8]>, Arc<Settings>)>,
}

impl Probe {
    pub(super) fn row(&mut self, body: &[u8]) -> Result<(), Violation> {
        self.answer.row(body)
    }
}

impl Session {
    /// What the session can't take to another backend.
    pub(super) fn pinned(&self) -> Effects {
        self.pins
            .as_ref()
            .map_or_else(Effects::default, |pins| pins.state)
    }

    /// Nothing is under way: whether the backend may go. If the server has to be asked first,
    /// the question is staged.
    #[inline]
    pub(super) fn at_boundary(&mut self, hold: &mut Hold) -> Verdict {
        let verdict = self.verdict(hold, Client::Here);
        if verdict != Verdict::Probe {
            return verdict;
        }
        hold.restoring = false;
        if self.knows_outcome(hold) {
            hold.lease.residue = Effects::default();
            return self.verdict(hold, Client::Here);
        }
        let about = hold.lease.tracker.lone_set();
        let about = about.map(|text| (text.into(), Arc::clone(&self.settings)));
        let suspected = std::mem::take(&mut hold.lease.residue);
        hold.lease.opaque |= suspected.any(Effects::CODE | Effects::UNNAMED);
        let asked = probe::asked(suspected | self.pinned());
        if asked.is_empty() {
            self.pin(suspected.only(TO_THE_END) | self.pinned());
            return self.verdict(hold, Client::Here);
        }
        let custom: &[Box<str>] = match asked.any(Effects::SETTING) {
            true => &self.custom,
            false => &[],
        };
        let mut question = Vec::new();
        let role = self.route.pools.connector().user();
        hold.lease
            .tracker
            .inject_probe(asked, custom, role, &mut question);
        hold.lease.wire.put(&question);
        hold.probe = Some(Box::new(Probe {
            suspected,
            failed: false,
            holds_requests: suspected.any(Effects::SETTING | Effects::DISCARD_ALL)
                && !self.startup.is_empty(),
            asked,
            answer: Answer::default(),
            about,
        }));
        Verdict::Probe
    }

    /// Whether the transaction was one `SET` of which it is known what it leaves; if so, the
    /// session has that now.
    fn knows_outcome(&mut self, hold: &mut Hold) -> bool {
        let backend = &mut *hold.lease;
        if backend.residue != Effects::SETTING || self.pins.is_some() {
            return false;
        }
        let Some(text) = backend.tracker.lone_set() else {
            return false;
        };
        let shared = self.pool.shared();
        let known = shared.precedents.find(text, &self.settings);
        let Some(after) = known.or_else(|| {
            let after = precedent::plainly(text, &self.settings)?;
            Some(shared.intern(after))
        }) else {
            return false;
        };
        let keeps = |name: &str| after.get(name).is_some();
        let is_reported = backend.parameters.iter().all(|(name, value)| {
            let set = std::str::from_utf8(name)
                .ok()
                .and_then(|name| after.get(name));
            set.is_none_or(|set| set.as_bytes() == &**value)
        });
        if !is_reported || !self.startup.iter().all(|(name, _)| keeps(name)) {
            return false;
        }
        backend.applied = Arc::clone(&after);
        self.settings = after;
        self.statements.set_context(self.settings.context());
        true
    }

    /// The server has answered.
    pub(super) fn learn(&mut self, hold: &mut Hold) {
        let Some(probe) = hold.probe.take() else {
            return;
        };
        let Probe {
            suspected,
            failed,
            asked,
            answer,
            about,
            ..
        } = *probe;
        let before = Arc::clone(&self.settings);
        if asked.any(Effects::SETTING) && !failed {
            self.own_settings(hold, &answer);
        }
        let found = if failed { asked } else { answer.found };
        let mut state = self.pinned().without(asked) | found | suspected.only(TO_THE_END);
        // DISCARD ALL is alone in its transaction, and takes the sequences' values as well.
        let others = Effects::DISCARD_ALL | Effects::SETTING | Effects::RELATION;
        if suspected.any(Effects::DISCARD_ALL) && suspected.without(others).is_empty() {
            state = state.without(Effects::SEQUENCE | Effects::UNNAMED);
        }
        let result = if failed {
            ProbeResult::Failed
        } else if !state.is_empty() {
            ProbeResult::Pinned
        } else if self.settings != before {
            ProbeResult::Carried
        } else {
            ProbeResult::Clean
        };
        self.route.metrics.probes.inc(result);
        let is_whole =
            !failed && state.is_empty() && Arc::ptr_eq(&hold.lease.applied, &self.settings);
        if let Some((text, before)) = about.filter(|_| is_whole) {
            let after = Arc::clone(&self.settings);
            self.pool.shared().precedents.keep(&text, before, after);
        }
        self.pin(state);
        if asked.any(Effects::LISTEN) {
            self.name_channels(answer.channels.into_names());
        }
    }

    /// The settings that the server found are the session's, and those that it began with,
    /// which RESET goes back to: the backend has gone back to the server's default instead.
    fn own_settings(&mut self, hold: &mut Hold, answer: &Answer) {
        let found = &answer.settings;
        let mut owned = found.clone();
        for (name, value) in self.startup.iter() {
            if owned.get(name).is_none() {
                owned.set(name, value);
            }
        }
        if owned != *self.settings {
            self.settings = self.pool.shared().intern(owned);
            self.statements.set_context(self.settings.context());
        }
        if *found == *self.settings {
            hold.lease.applied = Arc::clone(&self.settings);
        } else {
            hold.lease.applied = Arc::new(found.clone());
            hold.restoring = adapt(&mut hold.lease, self.registered.number(), &self.settings);
        }
    }

    /// Notes whose sequences' values the backend has now. Returns what may be left: the values,
    /// if anybody in this pool has ever asked for them.
    pub(super) fn advance(&mut self, hold: &mut Hold, effects: Effects) -> Effects {
        let recalls = &self.pool.shared().recalls;
        if effects.any(Effects::RECALL) {
            recalls.store(true, Ordering::Relaxed);
        }
        let left = effects.without(Effects::ADVANCE | Effects::RECALL);
        if !effects.any(Effects::ADVANCE | Effects::SEQUENCE | Effects::CODE) {
            return left;
        }
        hold.lease.sequences_of = self.registered.number();
        self.advanced_on = hold.lease.number;
        match effects.any(Effects::ADVANCE) && recalls.load(Ordering::Relaxed) {
            true => left | Effects::SEQUENCE,
            false => left,
        }
    }

    /// Keeps the names of custom settings that a text has named. Returns what that leaves.
    pub(super) fn remember(&mut self, names: Vec<Box<str>>) -> Effects {
        if names.iter().all(|name| self.custom.contains(name)) {
            return Effects::default();
        }
        let mut custom = std::mem::take(&mut self.custom).into_vec();
        for name in names {
            if !custom.contains(&name) {
                custom.push(name);
            }
        }
        let too_many = custom.len() > MOST_CUSTOM;
        custom.truncate(MOST_CUSTOM);
        self.custom = custom.into_boxed_slice();
        match too_many {
            true => Effects::UNNAMED,
            false => Effects::default(),
        }
    }

    /// The channels that the session listens to on its backend.
    pub(super) fn channel_names(&self) -> &[Box<[u8]>] {
        self.pins.as_ref().map_or(&[], |pins| &pins.channels)
    }

    /// Notes them.
    pub(super) fn name_channels(&mut self, names: Vec<Box<[u8]>>) {
        if let Some(pins) = &mut self.pins {
            pins.channels = names;
        }
    }

    /// From now on, this and nothing else keeps the backend.
    pub(super) fn pin(&mut self, state: Effects) {
        if state == self.pinned() {
            return;
        }
        let mut pins = self.pins.take().unwrap_or_else(|| {
            Box::new(Pins {
                state,
                channels: Vec::new(),
                guard: self.route.metrics.pins.session(),
            })
        });
        pins.state = state;
        let reasons = REASONS.iter().filter(|(effect, _)| state.any(*effect));
        let reasons = reasons.map(|&(_, reason)| reason);
        self.registered.entry.pinned_for(reasons);
        for &reason in <PinReason as entrapool_metrics::Label>::ALL {
            let holds = REASONS
                .iter()
                .any(|&(effect, because)| because == reason && state.any(effect));
            if pins.guard.set(reason, holds) {
                let reason = entrapool_metrics::Label::value(reason);
                tracing::debug!(
                    route = self.route.config.name,
                    pid = self.registered.pid(),
                    reason,
                    pinned = holds,
                    "what keeps a session's backend has changed"
                );
            }
        }
        self.pins = (!state.is_empty()).then_some(pins);
    }
}
