//! Hot path: nothing happens if nothing differs. Making a backend look like its new client's.

use std::sync::Arc;

use entrapool_protocol::Sink;
use entrapool_protocol::tds::settings::{Plan, Settings};
use entrapool_protocol::tds::tracker::Values;

use super::backend::Backend;
use crate::config::PoolMode;

/// Stages what gives `wanted` to the backend. `owner` is the number of the session that gets it.
///
/// A reset alone rides on the session's own first request; a batch of ours goes first, and that
/// request waits for it. Returns whether settings had to be given.
#[inline]
pub(super) fn adapt(
    backend: &mut Backend,
    owner: u64,
    wanted: &Arc<Settings>,
    mode: PoolMode,
) -> bool {
    let same = backend.owner == owner;
    let first = backend.owner == 0;
    backend.owner = owner;
    if !same {
        backend.tracker.set_values(match first {
            true => Values::Own,
            false => Values::Foreign,
        });
    }
    let resets = !same && !first && (backend.soiled || mode == PoolMode::Transaction);
    if !resets && Arc::ptr_eq(&backend.applied, wanted) {
        return false;
    }
    let text = match wanted.change_from(&backend.applied) {
        Plan::Nothing | Plan::Batch(_) | Plan::Reset(_) if resets => {
            backend.tracker.reset_next();
            wanted.behind_reset(&backend.applied)
        }
        Plan::Nothing => None,
        Plan::Batch(text) => Some(text),
        Plan::Reset(text) => {
            backend.tracker.reset_next();
            text
        }
    };
    backend.soiled &= same;
    backend.applied = Arc::clone(wanted);
    text.is_some_and(|text| {
        let mut batch = Vec::new();
        // It is idle: it has just been lent.
        let sent = backend.tracker.inject_batch(&text, &mut batch);
        backend.wire.put(&batch);
        sent
    })
}
