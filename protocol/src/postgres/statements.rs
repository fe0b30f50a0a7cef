//! Prepared statements under names of ours: what a client named, what a backend holds.
//!
//! A client's statement is its text and parameter types; every backend of a pool that holds it
//! holds it under the same name, made from the statement's number in the pool's [`Dictionary`].

use super::scan::{Findings, scan};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How every name begins that we give to a statement on a backend.
pub const PREFIX: &[u8] = b"entrapool_";
/// A name that no statement ever has: numbers follow the prefix, and this is none.
pub const UNKNOWN: &[u8] = b"entrapool_unknown";

/// The context of statements of our own, which mean the same under any settings.
pub(super) const OURS: u64 = u64::MAX;

/// Statements that a backend holds at most; the least recently used one is closed beyond it.
pub const MOST_PER_BACKEND: usize = 500;

/// A statement: its number, and Parse's body behind the name (text, types).
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    id: u32,
    body: Box<[u8]>,
    /// What running it may leave, where that is asked of texts.
    findings: Option<Box<Findings>>,
}

impl Statement {
    /// The number, unique in its dictionary as long as the statement lives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Parse's body behind the name: text, terminator, parameter types.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What running it may leave, if anything.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        self.findings.as_deref()
    }

    /// Appends the name on backends.
    pub fn push_name(&self, out: &mut Vec<u8>) {
        push_name(self.id, out);
    }
}

/// Appends the name that statement `id` has on backends, without terminator.
pub fn push_name(id: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(PREFIX);
    let mut digits = [0_u8; 10];
    let mut at = digits.len();
    let mut left = id;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        }
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// How it is found out what commands may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watch {
    /// By their tags alone.
    #[default]
    Tags,
    /// By their texts.
    Texts,
    /// By their texts, and what would leave state on the backend for certain is refused.
    Strictly,
}

/// All statements of one pool, each once.
#[derive(Debug, Default)]
pub struct Dictionary {
    watch: Watch,
    /// How often a schema may have changed: see [`Dictionary::schema_changed`].
    edition: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By context: see [`Statements::set_context`].
    statements: HashMap<u64, HashSet<ByBody>>,
    count: usize,
    next_id: u32,
    sweep_at: usize,
}

/// Compares statements by their bodies alone.
#[derive(Debug)]
struct ByBody(Arc<Statement>);

impl Borrow<[u8]> for ByBody {
    fn borrow(&self) -> &[u8] {
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
            edition: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// How statements are watched.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// What a text means may have changed: who prepares it from now on does not share it with
    /// those who did before. The server refuses theirs if the type of its result is another,
    /// since drivers go by what they were told of it.
    pub fn schema_changed(&self) {
        self.edition.fetch_add(1, Ordering::Relaxed);
    }

    /// The statement with this body, parsed in this context; made if it is new.
    pub fn intern(&self, context: u64, body: &[u8]) -> Arc<Statement> {
        let context = match context {
            OURS => OURS,
            context => context ^ self.edition.load(Ordering::Relaxed).rotate_left(40),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ByBody(statement)) =
            known.statements.get(&context).and_then(|all| all.get(body))
        {
            return Arc::clone(statement);
        }
        if known.count >= known.sweep_at.max(SMALLEST_SWEEP) {
            known.sweep();
        }
        known.next_id = known.next_id.wrapping_add(1);
        let findings = match self.watch {
            Watch::Tags => None,
            Watch::Texts | Watch::Strictly => Some(scan(text_of(body), &mut Vec::new())),
        };
        let statement = Arc::new(Statement {
            id: known.next_id,
            body: body.into(),
            findings: findings
                .filter(|findings| *findings != Findings::default())
                .map(Box::new),
        });
        known
            .statements
            .entry(context)
            .or_default()
            .insert(ByBody(Arc::clone(&statement)));
        known.count += 1;
        statement
    }

    /// How many statements are known, used or not yet swept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count
    }

    /// Whether no statement is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The text in a Parse's body.
pub(super) fn text_of(body: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(body).map_or(body, CStr::to_bytes)
}

impl Known {
    /// Forgets what neither a client nor a backend has any more.
    fn sweep(&mut self) {
        self.statements.retain(|_, all| {
            all.retain(|ByBody(statement)| Arc::strong_count(statement) > 1);
            !all.is_empty()
        });
        self.count = self.statements.values().map(HashSet::len).sum();
        self.sweep_at = self.count * 2;
    }
}

type Names = HashMap<Box<[u8]>, Arc<Statement>>;

/// The statements of one client. Empty ones take no memory of their own.
#[derive(Debug)]
pub struct Statements {
    /// Tells this client's unnamed statement from another's; unique in the process.
    owner: u64,
    pub(super) context: u64,
    names: Option<Box<Names>>,
    /// Body of the unnamed statement; empty if there is none, or one too large to be kept.
    unnamed: Vec<u8>,
    /// Counts its changes.
    edition: u32,
}

impl Statements {
    /// No statements yet. `owner` is unique among the clients of the process.
    #[must_use]
    pub fn new(owner: u64) -> Self {
        Self {
            owner,
            context: 0,
            names: None,
            unnamed: Vec::new(),
            edition: 0,
        }
    }

    /// Statements parsed from now on are shared only with clients of the same context: what a
    /// text means depends on settings, some of which are folded into the parsed statement
    /// (`DateStyle`) and some looked up by it (`search_path`).
    pub fn set_context(&mut self, context: u64) {
        self.context = context;
    }

    /// The server has refused a statement as stale: all are what their texts mean now.
    pub(super) fn renew(&mut self, dictionary: &Dictionary) {
        for statement in self.names.iter_mut().flat_map(|names| names.values_mut()) {
            *statement = dictionary.intern(self.context, statement.body());
        }
    }

    /// What the client calls `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.names.as_ref()?.get(name)
    }

    /// Sets or removes what the client calls `name`; returns what it was before.
    pub(super) fn replace(
        &mut self,
        name: &[u8],
        statement: Option<Arc<Statement>>,
    ) -> Option<Arc<Statement>> {
        match statement {
            Some(statement) => self
                .names
                .get_or_insert_default()
                .insert(name.into(), statement),
            None => self.names.as_mut()?.remove(name),
        }
    }

    /// Body of the unnamed statement; empty if there is none, or one too large to be kept.
    pub(super) fn unnamed(&self) -> &[u8] {
        &self.unnamed
    }

    /// Says on a backend which unnamed statement it has: of which client, and which of its.
    pub(super) fn unnamed_mark(&self) -> (u64, u32) {
        (self.owner, self.edition)
    }

    /// Sets or, with an empty body, removes the unnamed statement; returns what it was before.
    pub(super) fn replace_unnamed(&mut self, body: Vec<u8>) -> Vec<u8> {
        self.edition = self.edition.wrapping_add(1);
        std::mem::replace(&mut self.unnamed, body)
    }

    /// `DISCARD ALL`, `DEALLOCATE ALL`: of the names, only these stay.
    pub(super) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        if let Some(names) = &mut self.names {
            names.retain(|name, _| keep(name));
            if names.is_empty() {
                self.names = None;
            }
        }
    }

    /// How many names are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.len())
    }

    /// Whether no name is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The statements that a backend holds, least recently used first to go.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    held: HashMap<u32, Held, BuildHasherDefault<NumberHasher>>,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    statement: Arc<Statement>,
    used: u64,
}

impl Prepared {
    /// Whether the backend holds it; it counts as used now.
    pub(super) fn touch(&mut self, id: u32) -> bool {
        self.clock += 1;
        let Some(held) = self.held.get_mut(&id) else {
            return false;
        };
        held.used = self.clock;
        true
    }

    /// The backend will hold `statement`. Returns the one that has to go for it.
    pub(super) fn insert(&mut self, statement: Arc<Statement>) -> Option<Arc<Statement>> {
        self.clock += 1;
        let is_new = !self.held.contains_key(&statement.id);
        let evicted = (is_new && self.held.len() >= MOST_PER_BACKEND)
            .then(|| {
                self.held
                    .iter()
                    .min_by_key(|(_, held)| held.used)
                    .map(|(&id, _)| id)
            })
            .flatten()
            .and_then(|id| self.remove(id));
        let held = Held {
            used: self.clock,
            statement,
        };
        self.held.insert(held.statement.id, held);
        evicted
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Arc<Statement>> {
        self.held.remove(&id).map(|held| held.statement)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.held.retain(|&id, _| keep(id));
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

/// Statement numbers are our own and dense: multiplying spreads them well enough.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_are_one_statement() {
        let dictionary = Dictionary::default();
        let one = dictionary.intern(0, b"select 1\0\0\0");
        assert!(Arc::ptr_eq(&one, &dictionary.intern(0, b"select 1\0\0\0")));
        let two = dictionary.intern(0, b"select 2\0\0\0");
        assert_ne!(one.id(), two.id());
        assert_ne!(one.id(), dictionary.intern(1, b"select 1\0\0\0").id());
        let ours = dictionary.intern(OURS, b"select 1\0\0\0");
        dictionary.schema_changed();
        assert_ne!(one.id(), dictionary.intern(0, b"select 1\0\0\0").id());
        assert_eq!(ours.id(), dictionary.intern(OURS, b"select 1\0\0\0").id());
        let mut name = Vec::new();
        two.push_name(&mut name);
        assert_eq!(name, b"entrapool_2");
    }

    #[test]
    fn unused_statements_are_swept() {
        let dictionary = Dictionary::default();
        let kept = dictionary.intern(0, b"kept");
        for number in 0..10 * SMALLEST_SWEEP {
            dictionary.intern(0, format!("{number}").as_bytes());
        }
        assert!(
            dictionary.len() <= SMALLEST_SWEEP + 1,
            "{}",
            dictionary.len()
        );
        assert!(Arc::ptr_eq(&kept, &dictionary.intern(0, b"kept")));
    }

    #[test]
    fn names_of_large_numbers() {
        let mut name = Vec::new();
        push_name(u32::MAX, &mut name);
        assert_eq!(name, b"entrapool_4294967295");
    }

    #[test]
    fn the_least_recently_used_goes() {
        let dictionary = Dictionary::default();
        let mut prepared = Prepared::default();
        let statement = |number: usize| dictionary.intern(0, format!("{number}").as_bytes());
        for number in 0..MOST_PER_BACKEND {
            assert_eq!(prepared.insert(statement(number)), None);
        }
        assert!(prepared.touch(statement(0).id()));
        let evicted = prepared.insert(statement(MOST_PER_BACKEND)).unwrap();
        assert_eq!(evicted.id(), statement(1).id());
        assert_eq!(prepared.len(), MOST_PER_BACKEND);
    }
}
