//! What ended sessions lately, for those who ask. Bounded; a fault that ends many sessions has one
//! place, so that it does not crowd out the others.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use entrapool_metrics::Cause;

/// How many different ones are kept.
const MOST: usize = 100;
/// Bytes of a detail that are kept: it may quote a server.
const LONGEST: usize = 1000;

/// The list.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Fault>>);

/// What ended sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it did last.
    pub at: SystemTime,
    /// How many it has ended, since it is listed.
    pub times: u64,
    /// The route.
    pub route: Box<str>,
    /// The process id of the last of them; 0 for one that was not let in.
    pub session: i32,
    /// Why.
    pub cause: Cause,
    /// What exactly happened; never a secret, never SQL.
    pub detail: Box<str>,
}

impl Recent {
    /// The newest last.
    pub fn list(&self) -> Vec<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().cloned().collect()
    }

    /// A session has ended.
    pub(super) fn note(&self, cause: Cause, detail: &str, (route, session): (&str, i32)) {
        // As it should be.
        if matches!(cause, Cause::Quit | Cause::Drain) {
            return;
        }
        let end = detail.floor_char_boundary(LONGEST);
        let detail = detail.get(..end).unwrap_or_default();
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = |fault: &Fault| {
            fault.cause == cause && *fault.route == *route && *fault.detail == *detail
        };
        let known = faults.iter().rposition(alike);
        let times = known
            .and_then(|at| faults.remove(at))
            .map_or(0, |fault| fault.times);
        if faults.len() >= MOST {
            faults.pop_front();
        }
        faults.push_back(Fault {
            at: SystemTime::now(),
            times: times + 1,
            route: route.into(),
            session,
            cause,
            detail: detail.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_is_counted_and_the_oldest_goes_first() {
        let recent = Recent::default();
        recent.note(Cause::Gone, "", ("main", 1));
        recent.note(Cause::Quit, "", ("main", 2));
        recent.note(Cause::Unreachable, "refused", ("main", 3));
        for session in 0..1000 {
            recent.note(Cause::Gone, "", ("main", session));
        }
        recent.note(Cause::Gone, "", ("other", 4));
        let list = recent.list();
        let seen: Vec<_> = list
            .iter()
            .map(|it| (it.cause, it.times, it.session))
            .collect();
        let expected = [
            (Cause::Unreachable, 1, 3),
            (Cause::Gone, 1001, 999),
            (Cause::Gone, 1, 4),
        ];
        assert_eq!(seen, expected);
        for number in 0..MOST {
            recent.note(Cause::Malformed, &number.to_string(), ("main", 0));
        }
        recent.note(Cause::Malformed, &"\u{e9}".repeat(5000), ("main", 0));
        let list = recent.list();
        assert_eq!(list[MOST - 1].detail.len(), LONGEST);
        assert_eq!(list.len(), MOST);
        assert_eq!(&*list[0].detail, "1");
        assert!(list.iter().all(|fault| fault.cause == Cause::Malformed));
    }
}
