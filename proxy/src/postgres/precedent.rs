//! What a `SET` that was all of a transaction left the last time, so that the server is asked once.
//!
//! It depends on nothing but the settings before it, among which are those that the server has
//! reported since: what can't be seen by that (a new default of the server's) is compared with
//! the server's reports by whoever follows a precedent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use entrapool_protocol::postgres::scan::{custom_assignment, scan};
use entrapool_protocol::postgres::settings::Settings;

/// Kept per pool. Clients choose their texts freely, so there must be a limit.
const MOST: usize = 512;

/// Outcomes of texts, by what was set before them.
#[derive(Default)]
pub(super) struct Precedents(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    outcomes: HashMap<Box<[u8]>, Vec<Outcome>>,
    count: usize,
}

struct Outcome {
    before: Arc<Settings>,
    after: Arc<Settings>,
}

impl Precedents {
    /// What `text` leaves of a session that has the settings `before`, if that is known.
    pub(super) fn find(&self, text: &[u8], before: &Arc<Settings>) -> Option<Arc<Settings>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = kept.outcomes.get(text)?;
        let outcome = outcomes.iter().find(|outcome| outcome.before == *before)?;
        Some(Arc::clone(&outcome.after))
    }

    /// The server was asked: keeps its answer, unless that is about more than the text.
    pub(super) fn keep(&self, text: &[u8], before: Arc<Settings>, after: Arc<Settings>) {
        let named = scan(text, &mut Vec::new()).custom;
        // Other custom settings are there or not by what other sessions have done.
        let is_about = |name: &str| {
            !name.contains('.')
                || before.get(name).is_some()
                || named.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if !after.iter().all(|(name, _)| is_about(name)) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.count >= MOST {
            *kept = Kept::default();
        }
        let outcomes = kept.outcomes.entry(text.into()).or_default();
        outcomes.retain(|outcome| outcome.before != before);
        outcomes.push(Outcome { before, after });
        kept.count += 1;
    }
}

/// What a text leaves that gives a plain string to a custom setting, which the server takes as it
/// is: applications write a value of each request's there.
pub(super) fn plainly(text: &[u8], before: &Settings) -> Option<Settings> {
    let (name, value) = custom_assignment(text)?;
    let mut after = before.clone();
    after.set(&name, value);
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Arc<Settings> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(name, value);
        }
        Arc::new(settings)
    }

    #[test]
    fn an_outcome_holds_for_its_text_and_what_was_before() {
        let precedents = Precedents::default();
        let (none, utc) = (settings(&[]), settings(&[("TimeZone", "UTC")]));
        precedents.keep(b"SET TimeZone TO 'UTC'", none.clone(), utc.clone());
        let find = |text: &[u8], before| precedents.find(text, before);
        assert_eq!(find(b"SET TimeZone TO 'UTC'", &none), Some(utc.clone()));
        assert_eq!(find(b"SET TimeZone TO 'UTC'", &utc), None);
        assert_eq!(find(b"SET TimeZone TO 'utc'", &none), None);
        // The newest answer holds.
        precedents.keep(b"SET TimeZone TO 'UTC'", none.clone(), none.clone());
        assert_eq!(find(b"SET TimeZone TO 'UTC'", &none), Some(none));
    }

    #[test]
    fn what_is_not_the_texts_doing_is_not_kept() {
        let precedents = Precedents::default();
        let none = settings(&[]);
        let text = b"SET app.user = lower";
        let kept = settings(&[("app.user", "lower")]);
        precedents.keep(text, none.clone(), kept.clone());
        assert_eq!(precedents.find(text, &none), Some(kept));
        let text = b"SET work_mem = '1MB'";
        precedents.keep(
            text,
            none.clone(),
            settings(&[("app.user", ""), ("work_mem", "1024")]),
        );
        assert_eq!(precedents.find(text, &none), None);
    }

    #[test]
    fn memory_is_bounded() {
        let precedents = Precedents::default();
        let none = settings(&[]);
        for number in 0..3 * MOST {
            let text = format!("SET work_mem = {number}");
            precedents.keep(text.as_bytes(), none.clone(), none.clone());
        }
        let kept = precedents.0.lock().unwrap();
        assert!(kept.count <= MOST && kept.outcomes.len() <= MOST);
    }

    #[test]
    fn a_plain_value_needs_no_precedent() {
        let before = settings(&[("TimeZone", "UTC"), ("app.user", "1")]);
        let after = plainly(b"SET app.user = '2'", &before).unwrap();
        assert_eq!(after, *settings(&[("TimeZone", "UTC"), ("app.user", "2")]));
        assert!(plainly(b"SET work_mem = '2MB'", &before).is_none());
    }
}
