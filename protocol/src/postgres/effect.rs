//! What a command may leave behind in its session, read off its text or its command tag.
//!
//! These are hints that a backend may need a question or a cleaning before another client gets
//! it, never proof that it does not.

use crate::hints::hints;

/// A set of hints; empty means that nothing seen so far can have left state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u16);

impl Effects {
    /// `SET`, `RESET`, `set_config`: a setting.
    pub const SETTING: Self = Self(1);
    /// `LISTEN`: a channel.
    pub const LISTEN: Self = Self(2);
    /// `PREPARE`: a statement under a name of the client's own.
    pub const PREPARE: Self = Self(4);
    /// `DECLARE CURSOR`: perhaps one that outlives its transaction.
    pub const CURSOR: Self = Self(8);
    /// `DISCARD ALL`: everything is gone, ours too.
    pub const DISCARD_ALL: Self = Self(16);
    /// `DEALLOCATE ALL`: all prepared statements are gone, ours too.
    pub const DEALLOCATE_ALL: Self = Self(32);
    /// `LOAD`, `setseed`: state that nobody can ask for, and nothing removes.
    pub const HIDDEN: Self = Self(64);
    /// `CREATE TABLE`, `SELECT INTO` and friends: perhaps a temporary one.
    pub const RELATION: Self = Self(128);
    /// `pg_advisory_lock` and its kin.
    pub const LOCK: Self = Self(256);
    /// A sequence's value for this session, which somebody asks for.
    pub const SEQUENCE: Self = Self(512);
    /// `nextval`, and `INSERT` and others that may advance a sequence by a column's default.
    pub const ADVANCE: Self = Self(8192);
    /// `currval`, `lastval`: asks for what was advanced before.
    pub const RECALL: Self = Self(16384);
    /// Somebody's own function, `DO`, `CALL`: anything that can be asked for.
    pub const CODE: Self = Self(1024);

    /// A custom setting whose name is not known, so that nobody can ask for it.
    pub const UNNAMED: Self = Self(2048);

    /// `DISCARD`, `DEALLOCATE`: the session may lose prepared statements, ours too.
    pub const FORGET: Self = Self(4096);

    /// State that stays on the backend for certain, if the statement succeeds.
    pub const STATE: Self = Self(32768);

    /// The hints of one command tag (without its terminator).
    #[must_use]
    pub fn of_tag(tag: &[u8]) -> Self {
        match tag {
            b"SET" | b"RESET" => Self::SETTING,
            b"LISTEN" => Self::LISTEN,
            b"PREPARE" => Self::PREPARE,
            b"DECLARE CURSOR" => Self::CURSOR,
            b"DISCARD ALL" => Self::DISCARD_ALL,
            b"DEALLOCATE ALL" => Self::DEALLOCATE_ALL,
            b"LOAD" => Self::HIDDEN,
            b"CREATE TABLE" | b"CREATE VIEW" | b"CREATE SEQUENCE" | b"CREATE TABLE AS" => {
                Self::RELATION
            }
            _ => Self::default(),
        }
    }
}

hints!(Effects);
