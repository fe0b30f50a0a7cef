//! Every request that trackers refuse or answer themselves with an error, in words.
//!
//! Trackers call it; a test of the proxy prints all of it into `docs/errors.md`.

use super::message::{OWN, Report};

/// With `pool_mode=strict`: a request that would pin its session.
#[must_use]
pub fn leaves_state() -> Report {
    Report::error(
        OWN + 1,
        "entrapool: with pool_mode=strict no statement may leave state in its session that \
         another backend would not have.",
    )
    .hint(
        "Use a form that ends with its batch or transaction (a table variable, a LOCAL cursor, \
         sp_getapplock for the transaction), or pool_mode=auto, where such state keeps a backend \
         with its client.",
    )
}

/// Something of an earlier batch that only the backend of that batch knows.
#[must_use]
pub fn recalls() -> Report {
    Report::error(
        OWN + 2,
        "entrapool: @@IDENTITY, SCOPE_IDENTITY(), @@ROWCOUNT and @@ERROR of an earlier batch are \
         not known any more: another client, or entrapool itself, has used the backend since.",
    )
    .hint(
        "Ask for them in the same batch as the statement that they are about (or use OUTPUT), in \
         the same transaction, or use pool_mode=session.",
    )
}

/// A value that a client of an old TDS version could not take; `limit` in bytes.
#[must_use]
pub fn too_large(limit: usize) -> Report {
    Report::error(
        OWN + 10,
        format!(
            "entrapool: the statement gave a value of more than {limit} bytes (8000 for a \
             parameter), too large for a client of a TDS version before 7.3B."
        ),
    )
    .hint("Select it in parts (SUBSTRING), or use a driver of TDS 7.3B or 7.4.")
}
