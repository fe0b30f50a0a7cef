//! Hot path: no allocation once the queue has grown. Replies that a backend owes, in order.

use std::collections::VecDeque;

/// A request that the server answers, or one that it doesn't but that keeps its place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answered by ParseComplete.
    Parse,
    /// Answered by BindComplete.
    Bind,
    /// Answered by CloseComplete.
    Close,
    /// Answered by RowDescription or NoData (after ParameterDescription for a statement).
    Describe,
    /// Answered by CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// Answered by ReadyForQuery.
    Sync,
    /// Answered by any number of results, then ReadyForQuery.
    Query,
    /// Answered by FunctionCallResponse, then ReadyForQuery.
    FunctionCall,
    /// CopyDone or CopyFail, sent before the server said whether there is a COPY: no answer.
    CopyEnd,
    /// Sent into a COPY, where the server ignored it: no answer.
    Ignored,
}

impl Kind {
    /// Whether an error in this request makes the server skip everything up to the next Sync
    /// (55.2.3); requests of the simple protocol are followed by their own ReadyForQuery.
    #[must_use]
    pub fn is_extended(self) -> bool {
        matches!(
            self,
            Self::Parse | Self::Bind | Self::Close | Self::Describe | Self::Execute
        )
    }

    /// Whether ReadyForQuery ends the answer.
    #[must_use]
    pub fn ends_with_ready(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::FunctionCall)
    }

    fn is_silent(self) -> bool {
        matches!(self, Self::CopyEnd | Self::Ignored)
    }
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client asked, the client gets it.
    Forward,
    /// We asked; the client never knows.
    Swallow,
    /// We asked, and want to know what the answer says; the client never knows.
    Report,
    /// The client asked, the server never knows: we make the answer when its turn comes.
    Synthesize,
    /// We asked for something that must fail, so that the server fails the client's batch; the
    /// client gets the error that we prepared instead of the server's, if both have one code.
    Replace,
}

/// One owed reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// What it answers.
    pub kind: Kind,
    /// What becomes of it.
    pub fate: Fate,
}

/// The replies that are still owed, oldest first. The oldest one is never a silent one.
///
/// Each entry has a number, counted from the first one ever pushed, so that other books can say
/// which request an entry of theirs belongs to.
#[derive(Debug, Default)]
pub struct Ledger {
    queue: VecDeque<Owed>,
    popped: u64,
}

impl Ledger {
    /// Whether nothing is owed.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest owed reply.
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<Owed> {
        self.queue.front().copied()
    }

    /// Whether a ReadyForQuery is owed to the client.
    #[must_use]
    pub fn owes_ready(&self) -> bool {
        self.queue
            .iter()
            .any(|owed| owed.kind.ends_with_ready() && owed.fate == Fate::Forward)
    }

    /// The number of the oldest owed reply, or of the next entry if nothing is owed.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.popped
    }

    /// The number that the next entry will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.popped + self.queue.len() as u64
    }

    /// Owes one more reply. Silent kinds are kept only behind a request that owes one.
    #[inline]
    pub fn push(&mut self, kind: Kind, fate: Fate) {
        if !(kind.is_silent() && self.queue.is_empty()) {
            self.queue.push_back(Owed { kind, fate });
        }
    }

    /// The oldest reply has been given.
    #[inline]
    pub fn pop(&mut self) {
        self.pop_one();
        while self.queue.front().is_some_and(|owed| owed.kind.is_silent()) {
            self.pop_one();
        }
    }

    fn pop_one(&mut self) {
        if self.queue.pop_front().is_some() {
            self.popped += 1;
        }
    }

    /// The server failed an extended request: drops everything up to, and not including, the
    /// next Sync. Returns whether that Sync has been sent already. A Query of the client's that
    /// is skipped on the way owed a ReadyForQuery: that of the Sync, even if it is ours.
    pub fn fail_to_sync(&mut self) -> bool {
        let mut skipped = false;
        while let Some(owed) = self.queue.front_mut() {
            if owed.kind == Kind::Sync {
                if skipped {
                    owed.fate = Fate::Forward;
                }
                return true;
            }
            skipped |= owed.kind == Kind::Query && owed.fate == Fate::Forward;
            self.pop_one();
        }
        false
    }

    /// The server entered COPY IN for the oldest request. Each Sync sent meanwhile is ignored
    /// (55.2.6); anything but that and the end of the data is taken by the COPY as an error.
    /// Returns whether the end, or such an error, has been sent already.
    pub fn enter_copy_in(&mut self) -> bool {
        let simple = self
            .queue
            .front()
            .is_some_and(|owed| owed.kind == Kind::Query);
        for owed in self.queue.iter_mut().skip(1) {
            match owed.kind {
                Kind::Sync => owed.kind = Kind::Ignored,
                Kind::Ignored => {}
                Kind::CopyEnd => {
                    owed.kind = Kind::Ignored;
                    return true;
                }
                // After its error the simple protocol goes on behind the message that caused
                // it; the extended one skips to Sync, which fail_to_sync accounts for.
                _ => {
                    if simple {
                        owed.kind = Kind::Ignored;
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Gives back memory that only a burst needed.
    pub fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 1024 {
            self.queue.shrink_to(64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(kinds: &[Kind]) -> Ledger {
        let mut ledger = Ledger::default();
        for &kind in kinds {
            ledger.push(kind, Fate::Forward);
        }
        ledger
    }

    fn rest(mut ledger: Ledger) -> Vec<Kind> {
        let mut kinds = Vec::new();
        while let Some(owed) = ledger.front() {
            kinds.push(owed.kind);
            ledger.pop();
        }
        kinds
    }

    #[test]
    fn an_error_drops_to_sync() {
        use Kind::{Bind, Execute, Parse, Query, Sync};
        let mut with_sync = ledger(&[Bind, Execute, Query, Sync, Parse, Sync]);
        assert!(with_sync.fail_to_sync());
        assert_eq!(with_sync.first(), 3);
        assert_eq!(rest(with_sync), [Sync, Parse, Sync]);
        let mut ours = Ledger::default();
        ours.push(Parse, Fate::Swallow);
        ours.push(Query, Fate::Forward);
        ours.push(Sync, Fate::Swallow);
        assert!(ours.fail_to_sync());
        assert_eq!(ours.front().unwrap().fate, Fate::Forward);
        let mut without = ledger(&[Bind, Execute]);
        assert!(!without.fail_to_sync());
        assert!(without.is_empty());
    }

    #[test]
    fn copy_in_ignores_syncs() {
        use Kind::{CopyEnd, Execute, Parse, Query, Sync};
        let mut ended = ledger(&[Execute, Sync, CopyEnd, Sync]);
        assert!(ended.enter_copy_in());
        assert_eq!(rest(ended), [Execute, Sync]);
        let mut open = ledger(&[Execute, Sync]);
        assert!(!open.enter_copy_in());
        assert_eq!(rest(open), [Execute]);
        let mut broken = ledger(&[Query, Query, Query]);
        assert!(broken.enter_copy_in());
        assert_eq!(rest(broken), [Query, Query]);
        let mut extended = ledger(&[Execute, Parse, Sync]);
        assert!(extended.enter_copy_in());
        assert_eq!(rest(extended), [Execute, Parse, Sync]);
    }

    #[test]
    fn silent_entries_are_never_oldest() {
        let mut silent = ledger(&[Kind::CopyEnd]);
        assert!(silent.is_empty());
        silent.push(Kind::Query, Fate::Forward);
        silent.push(Kind::CopyEnd, Fate::Forward);
        silent.pop();
        assert!(silent.is_empty());
        assert_eq!(silent.next(), 2);
    }
}
