//! What a request may leave behind in its session, read off its text or the procedure it calls.
//!
//! These are hints that a backend may have to stay with its client, or needs a cleaning before
//! another gets it, never proof that it does not.

use crate::hints::hints;

/// A set of hints; empty means that nothing seen so far can have left state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u32);

impl Effects {
    /// `SET`, `USE`, in a batch that does something else, too: nobody knows how to repeat it.
    pub const SETTING: Self = Self(1);
    /// `#name`: a temporary table or procedure.
    pub const TEMP_TABLE: Self = Self(1 << 1);
    /// `DECLARE CURSOR`, or a cursor of the API.
    pub const CURSOR: Self = Self(1 << 2);
    /// `sp_getapplock`, for the session.
    pub const APP_LOCK: Self = Self(1 << 3);
    /// `sp_setapprole`, `sp_bindsession`: no reset undoes it for certain.
    pub const TAINTED: Self = Self(1 << 4);
    /// `EXECUTE AS`, `REVERT`, `SETUSER`.
    pub const EXECUTE_AS: Self = Self(1 << 5);
    /// `CONTEXT_INFO`.
    pub const CONTEXT: Self = Self(1 << 6);
    /// `DBCC TRACEON`.
    pub const TRACE: Self = Self(1 << 7);
    /// `sp_xml_preparedocument`, `sp_OACreate`: handles of the session.
    pub const HANDLE: Self = Self(1 << 8);
    /// A statement that was prepared past our books.
    pub const PREPARED: Self = Self(1 << 9);
    /// A transaction that the same text does not end.
    pub const BEGIN: Self = Self(1 << 10);
    /// The end of a transaction that the same text does not begin.
    pub const END: Self = Self(1 << 11);
    /// `SET IMPLICIT_TRANSACTIONS`: any statement may begin a transaction.
    pub const IMPLICIT: Self = Self(1 << 12);
    /// `@@IDENTITY`, `@@ROWCOUNT` and the like of what ran before.
    pub const RECALL: Self = Self(1 << 13);
    /// `INSERT` and its kin: changes what those say.
    pub const ADVANCE: Self = Self(1 << 14);
    /// Somebody's own procedure, or text that is put together at run time.
    pub const CODE: Self = Self(1 << 15);
    /// A distributed transaction.
    pub const DISTRIBUTED: Self = Self(1 << 16);
    /// `INSERT BULK`: its data comes as a message of its own.
    pub const BULK: Self = Self(1 << 17);
    /// The request asks for a query notification.
    pub const NOTIFICATION: Self = Self(1 << 18);
    /// A text or message that could not be looked at.
    pub const UNKNOWN: Self = Self(1 << 19);
    /// `##name`: a table for everybody, which goes with the session that made it.
    pub const GLOBAL_TABLE: Self = Self(1 << 20);
    /// `sp_set_session_context`: nobody can be asked which keys there are.
    pub const SESSION_CONTEXT: Self = Self(1 << 21);
    /// `CLOSE`, `DEALLOCATE`, `sp_releaseapplock`: something that pinned may be gone.
    pub const RELEASE: Self = Self(1 << 22);
    /// The end of one of several nested transactions of which the server says nothing: it may have
    /// been an inner one.
    pub const NESTED: Self = Self(1 << 23);
    /// `ROLLBACK TRANSACTION name`: of a transaction, or to a savepoint in it.
    pub const NAMED_END: Self = Self(1 << 24);
    /// Several transactions, one in the other, that the same text does not end.
    pub const SEVERAL: Self = Self(1 << 25);
    /// `BEGIN TRANSACTION` and nothing else: a server that tells has to tell of it.
    pub const ONLY_BEGINS: Self = Self(1 << 26);

    /// What ends with the procedure that it happens in: also with `sp_executesql`.
    pub const LOCAL: Self = Self(Self::SETTING.0 | Self::TEMP_TABLE.0 | Self::IMPLICIT.0);

    /// State that stays on the backend for certain, if the statement succeeds, and that only the
    /// client itself or a reset removes.
    pub const STATE: Self = Self(
        Self::TEMP_TABLE.0
            | Self::GLOBAL_TABLE.0
            | Self::CURSOR.0
            | Self::APP_LOCK.0
            | Self::TAINTED.0
            | Self::EXECUTE_AS.0
            | Self::CONTEXT.0
            | Self::SESSION_CONTEXT.0
            | Self::TRACE.0
            | Self::HANDLE.0
            | Self::PREPARED.0
            | Self::DISTRIBUTED.0
            | Self::NOTIFICATION.0,
    );

    /// What may have left anything: the backend is cleaned before another client gets it.
    pub const SUSPECT: Self =
        Self(Self::STATE.0 | Self::SETTING.0 | Self::CODE.0 | Self::UNKNOWN.0);
}

hints!(Effects);
