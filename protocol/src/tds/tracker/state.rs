//! What the server says of the session's state (SESSIONSTATE, MS-TDS 2.2.7.21). The values are
//! opaque: they are compared, nothing else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::tds::reader::Reader;

/// The state of a session, as the server told it.
#[derive(Debug, Default)]
pub struct SessionState {
    /// Whether the server tells at all.
    told: bool,
    baseline: BTreeMap<u8, u64>,
    /// What differs from the baseline, or differed once.
    now: BTreeMap<u8, Part>,
    /// The server has stopped telling, or we could not read it.
    lost: bool,
    /// Of all of it: asked for at each answer, changed rarely.
    hash: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    value: u64,
    recoverable: bool,
}

impl SessionState {
    /// `baseline` is what the feature SESSIONRECOVERY was granted with; `None` if it was not.
    #[must_use]
    pub fn new(baseline: Option<&[u8]>) -> Self {
        let mut state = Self {
            told: baseline.is_some(),
            ..Self::default()
        };
        let mut values = BTreeMap::new();
        let read = read_values(baseline.unwrap_or_default(), |id, value| {
            values.insert(id, value);
        });
        state.lost = read.is_none();
        state.baseline = values;
        state.rehash();
        state
    }

    /// Whether the server tells of changes.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told && !self.lost
    }

    /// Whether something is different from what it was after the login.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.lost
            || self
                .now
                .iter()
                .any(|(id, part)| self.baseline.get(id) != Some(&part.value))
    }

    /// Whether the session has what could not be made again elsewhere: a temporary table, a
    /// cursor, a lock.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        !self.lost && self.now.values().all(|part| part.recoverable)
    }

    /// Tells apart sessions in different states.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    fn rehash(&mut self) {
        let mut all = self.baseline.clone();
        all.extend(self.now.iter().map(|(&id, part)| (id, part.value)));
        self.hash = self.hash_of(&all);
    }

    /// [`SessionState::hash`] as it was after the login, and is after a reset.
    #[must_use]
    pub fn first_hash(&self) -> u64 {
        self.hash_of(&self.baseline)
    }

    fn hash_of(&self, values: &BTreeMap<u8, u64>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (values, self.lost).hash(&mut hasher);
        hasher.finish()
    }

    /// Takes a token, behind its length. One that can't be read counts as the loss of everything.
    pub(super) fn update(&mut self, body: &[u8]) {
        if self.read(body).is_none() {
            self.lost = true;
        }
        self.rehash();
    }

    fn read(&mut self, body: &[u8]) -> Option<()> {
        let mut reader = Reader::new(body);
        let sequence = reader.u32()?;
        let recoverable = reader.u8()? & RECOVERABLE != 0;
        if sequence == DISABLED {
            return None;
        }
        read_values(reader.rest(), |id, value| {
            self.now.insert(id, Part { value, recoverable });
        })
    }

    /// The session is as it was after its login.
    pub(super) fn reset(&mut self) {
        self.now.clear();
        self.rehash();
    }
}

const RECOVERABLE: u8 = 1;
/// The sequence number of a server that tells no more.
const DISABLED: u32 = u32::MAX;

/// Reads identifiers, lengths and values to the end; values as their hashes.
fn read_values(bytes: &[u8], mut each: impl FnMut(u8, u64)) -> Option<()> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        let id = reader.u8()?;
        let length = match reader.u8()? {
            u8::MAX => usize::try_from(reader.u32()?).ok()?,
            length => usize::from(length),
        };
        let mut hasher = DefaultHasher::new();
        reader.bytes(length)?.hash(&mut hasher);
        each(id, hasher.finish());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_from_the_baseline() {
        let mut state = SessionState::new(Some(&[0, 2, 7, 7, 9, 1, 0]));
        let first = state.hash();
        assert!(state.is_told() && !state.is_changed() && state.is_recoverable());
        // Number 9 changes; then it changes back.
        state.update(&[0, 0, 0, 0, 1, 9, 1, 5]);
        assert!(state.is_changed() && state.is_recoverable());
        assert_ne!(state.hash(), first);
        assert_eq!(state.first_hash(), first);
        state.update(&[1, 0, 0, 0, 1, 9, 1, 0]);
        assert!(!state.is_changed());
        assert_eq!(state.hash(), first);
        // A temporary table.
        state.update(&[2, 0, 0, 0, 0, 4, 0xff, 1, 0, 0, 0, 1]);
        assert!(!state.is_recoverable() && state.is_changed());
        state.reset();
        assert!(state.is_recoverable() && !state.is_changed());
    }

    #[test]
    fn what_can_t_be_read_counts_as_everything() {
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 1, 9, 2, 0],
            &[255, 255, 255, 255, 1],
        ] {
            let mut state = SessionState::new(Some(&[]));
            state.update(bad);
            assert!(
                !state.is_told() && state.is_changed() && !state.is_recoverable(),
                "{bad:?}"
            );
        }
        assert!(!SessionState::new(None).is_told());
        assert!(!SessionState::new(Some(&[1, 9])).is_told());
    }
}
