//! Prepared statements under handles of ours: what a client has prepared, what a backend holds.
//!
//! A client's handle means a statement: its text and the declaration of its parameters. Every
//! backend that holds the statement holds it under a handle of its server's choice.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::scan::{Findings, scan};

/// Statements that a backend holds at most; the least recently used one is unprepared beyond it.
pub const MOST_PER_BACKEND: usize = 200;
/// Handles that a client has at most.
pub const MOST_PER_CLIENT: usize = 10_000;
/// A handle that no server gives.
pub(super) const NO_HANDLE: i32 = -1;

/// What makes a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Body {
    /// What its text depends on: see [`Statements::set_context`].
    context: u64,
    parameters: Box<[u8]>,
    text: Box<[u8]>,
}

/// A statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    id: u32,
    body: Body,
    /// What running it may leave, where that is asked of texts.
    findings: Findings,
}

impl Statement {
    /// The number, unique in its dictionary as long as the statement lives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The declaration of its parameters, in UTF-16.
    #[must_use]
    pub fn parameters(&self) -> &[u8] {
        &self.body.parameters
    }

    /// Its text, in UTF-16.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.body.text
    }

    /// What running it may leave.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.findings
    }
}

/// How it is found out what requests may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// Not at all.
    #[default]
    Nothing,
    /// By their texts, and nobody is asked afterwards: of a transaction in doubt it is taken that it
    /// goes on.
    Unasked,
    /// By their texts, and the server is asked.
    Texts,
    /// By their texts, and what would leave state on the backend for certain is refused.
    Strictly,
}

/// All statements of one pool, each once.
#[derive(Debug, Default)]
pub struct Dictionary {
    watch: Watch,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    statements: HashSet<ByBody>,
    next_id: u32,
    sweep_at: usize,
}

/// Compares statements by their bodies alone.
#[derive(Debug)]
struct ByBody(Arc<Statement>);

impl Borrow<Body> for ByBody {
    fn borrow(&self) -> &Body {
        &self.0.body
    }
}

impl PartialEq for ByBody {
    fn eq(&self, other: &Self) -> bool {
        self.0.body == other.0.body
    }
}

impl Eq for ByBody {}

impl Hash for ByBody {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.body.hash(state);
    }
}

/// A dictionary is swept of statements that nobody uses when it has grown to twice what the
/// last sweep left, but not below this.
const SMALLEST_SWEEP: usize = 1024;

impl Dictionary {
    /// No statements yet.
    #[must_use]
    pub fn new(watch: Watch) -> Self {
        Self {
            watch,
            known: Mutex::default(),
        }
    }

    /// How statements are watched.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// The statement with this text and declaration, in this context; made if it is new.
    pub fn intern(&self, context: u64, parameters: &[u8], text: &[u8]) -> Arc<Statement> {
        let body = Body {
            context,
            parameters: parameters.into(),
            text: text.into(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ByBody(statement)) = known.statements.get(&body) {
            return Arc::clone(statement);
        }
        if known.statements.len() >= known.sweep_at.max(SMALLEST_SWEEP) {
            known.sweep();
        }
        known.next_id = known.next_id.wrapping_add(1);
        let findings = match self.watch {
            Watch::Nothing => Findings::default(),
            Watch::Unasked | Watch::Texts | Watch::Strictly => scan(text, &mut Vec::new()),
        };
        let statement = Arc::new(Statement {
            id: known.next_id,
            body,
            findings,
        });
        known.statements.insert(ByBody(Arc::clone(&statement)));
        statement
    }

    /// How many statements are known, used or not yet swept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .statements
            .len()
    }

    /// Whether no statement is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Known {
    /// Forgets what neither a client nor a backend has any more.
    fn sweep(&mut self) {
        self.statements
            .retain(|ByBody(statement)| Arc::strong_count(statement) > 1);
        self.sweep_at = self.statements.len() * 2;
    }
}

/// What a handle of a client means.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// A statement, on whatever backend.
    Statement(Arc<Statement>),
    /// This handle of the backend where it was prepared: its text was too long to be kept, so
    /// that the client keeps the backend.
    Fixed(i32),
}

type Meanings = HashMap<i32, Meaning>;

/// The prepared statements of one client. Empty ones take no memory of their own.
#[derive(Debug, Default)]
pub struct Statements {
    context: u64,
    handles: Option<Box<Meanings>>,
    last: i32,
}

impl Statements {
    /// No statements yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Statements prepared from now on are shared only with clients of the same context: what a
    /// text means depends on the database and on settings, some of which are kept with the
    /// statement.
    pub fn set_context(&mut self, context: u64) {
        self.context = context;
    }

    /// What statements prepared now depend on.
    #[must_use]
    pub fn context(&self) -> u64 {
        self.context
    }

    /// How many handles are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handles.as_ref().map_or(0, |handles| handles.len())
    }

    /// Whether no handle is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, handle: i32) -> Option<&Meaning> {
        self.handles.as_ref()?.get(&handle)
    }

    /// The next handle: from 1 on, never one in use.
    pub(super) fn next_handle(&mut self) -> i32 {
        loop {
            self.last = match self.last {
                i32::MAX => 1,
                last => last + 1,
            };
            if self.get(self.last).is_none() {
                return self.last;
            }
        }
    }

    /// A handle means this from now on. Returns whether there was room for it.
    pub(super) fn insert(&mut self, handle: i32, meaning: Meaning) -> bool {
        let handles = self.handles.get_or_insert_default();
        if handles.len() >= MOST_PER_CLIENT {
            return false;
        }
        handles.insert(handle, meaning);
        true
    }

    pub(super) fn remove(&mut self, handle: i32) -> Option<Meaning> {
        let handles = self.handles.as_mut()?;
        let meaning = handles.remove(&handle);
        if handles.is_empty() {
            self.handles = None;
        }
        meaning
    }

    /// The client has reset its session: its handles are gone.
    pub(super) fn clear(&mut self) {
        self.handles = None;
    }
}

/// The statements that a backend holds, least recently used first to go.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    held: HashMap<u32, Held>,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    /// Keeps the number from being given to another.
    statement: Arc<Statement>,
    handle: i32,
    used: u64,
}

impl Prepared {
    /// The backend's handle of a statement; it counts as used now.
    pub(super) fn touch(&mut self, id: u32) -> Option<i32> {
        self.clock += 1;
        let held = self.held.get_mut(&id)?;
        held.used = self.clock;
        Some(held.handle)
    }

    /// The backend's handle of a statement.
    pub(super) fn get(&self, id: u32) -> Option<i32> {
        self.held.get(&id).map(|held| held.handle)
    }

    /// The backend holds `statement` under `handle`. Returns handles that have to go for it.
    pub(super) fn insert(&mut self, statement: Arc<Statement>, handle: i32) -> Option<i32> {
        self.clock += 1;
        let used = self.clock;
        let id = statement.id;
        let held = Held {
            statement,
            handle,
            used,
        };
        if let Some(before) = self.held.insert(id, held) {
            return (before.handle != handle).then_some(before.handle);
        }
        if self.held.len() <= MOST_PER_BACKEND {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, held)| held.used)?;
        let oldest = oldest.1.statement.id;
        self.remove(oldest)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<i32> {
        self.held.remove(&id).map(|held| held.handle)
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_are_one_statement() {
        let dictionary = Dictionary::new(Watch::Nothing);
        let one = dictionary.intern(0, b"p\0", b"t\0");
        assert!(Arc::ptr_eq(&one, &dictionary.intern(0, b"p\0", b"t\0")));
        for other in [
            dictionary.intern(1, b"p\0", b"t\0"),
            dictionary.intern(0, b"q\0", b"t\0"),
            dictionary.intern(0, b"", b"p\0t\0"),
        ] {
            assert_ne!(one.id(), other.id());
        }
        assert_eq!(dictionary.len(), 4);
    }

    #[test]
    fn unused_statements_are_swept() {
        let dictionary = Dictionary::default();
        let kept = dictionary.intern(0, b"", b"kept");
        for number in 0..10 * SMALLEST_SWEEP {
            dictionary.intern(0, b"", format!("{number}").as_bytes());
        }
        assert!(dictionary.len() <= SMALLEST_SWEEP + 1);
        assert!(Arc::ptr_eq(&kept, &dictionary.intern(0, b"", b"kept")));
    }

    #[test]
    fn the_least_recently_used_goes() {
        let dictionary = Dictionary::default();
        let mut prepared = Prepared::default();
        let statement = |number: i32| dictionary.intern(0, b"", format!("{number}").as_bytes());
        let most = i32::try_from(MOST_PER_BACKEND).unwrap();
        for number in 0..most {
            assert_eq!(prepared.insert(statement(number), number), None);
        }
        assert_eq!(prepared.touch(statement(0).id()), Some(0));
        assert_eq!(prepared.insert(statement(most), most), Some(1));
        assert_eq!(prepared.len(), MOST_PER_BACKEND);
        // Prepared again under another handle, the old one goes.
        assert_eq!(prepared.insert(statement(0), 5000), Some(0));
        assert_eq!(prepared.remove(statement(0).id()), Some(5000));
        assert_eq!(prepared.get(statement(0).id()), None);
    }

    #[test]
    fn handles_are_never_two_things() {
        let mut statements = Statements::new();
        assert!(statements.insert(1, Meaning::Fixed(9)));
        statements.last = i32::MAX;
        assert_eq!(statements.next_handle(), 2);
        assert!(statements.remove(1).is_some());
        assert!(statements.is_empty() && statements.handles.is_none());
        let mut room = true;
        for handle in 0..=i32::try_from(MOST_PER_CLIENT).unwrap() {
            room = statements.insert(handle, Meaning::Fixed(handle));
        }
        assert!(!room);
    }
}
