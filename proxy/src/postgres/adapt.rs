//! Hot path: nothing happens if nothing differs. Making a backend look like its new client's.

use std::sync::Arc;

use entrapool_protocol::Sink;
use entrapool_protocol::postgres::message;
use entrapool_protocol::postgres::settings::Settings;

use super::backend::Backend;

/// Reported settings that a client can't set, so that its session does not own them.
const NOT_SETTABLE: [&[u8]; 6] = [
    b"server_version",
    b"server_encoding",
    b"is_superuser",
    b"session_authorization",
    b"integer_datetimes",
    b"in_hot_standby",
];

/// Stages what gives `wanted` to the backend, to leave in one write with what follows. The
/// answer is swallowed. `owner` is the number of the session that gets the backend. Returns
/// whether there was anything to do.
#[inline]
pub(super) fn adapt(backend: &mut Backend, owner: u64, wanted: &Arc<Settings>) -> bool {
    let same = backend.owner == owner || !backend.opaque;
    backend.owner = owner;
    if same && Arc::ptr_eq(&backend.applied, wanted) {
        return false;
    }
    let sql = match same {
        true => wanted.change_from(&backend.applied),
        false => Some(wanted.change_from_unknown()),
    };
    backend.opaque &= same;
    backend.applied = Arc::clone(wanted);
    sql.is_some_and(|sql| {
        let mut query = Vec::with_capacity(sql.len() + 6);
        message::query(&mut query, sql.as_bytes());
        backend.wire.put(&query);
        backend.tracker.inject_query();
        true
    })
}

/// The server reports a setting that changed under the client's commands: the session owns it
/// now, and takes it along. A rollback is reported too, so the last report is always right.
pub(super) fn own(backend: &mut Backend, settings: &mut Arc<Settings>, name: &[u8], value: &[u8]) {
    if NOT_SETTABLE.contains(&name) {
        return;
    }
    let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
        return;
    };
    let mut changed = Settings::clone(settings);
    changed.set(name, value);
    *settings = Arc::new(changed);
    let mut applied = Settings::clone(&backend.applied);
    applied.set(name, value);
    backend.applied = if applied == **settings {
        Arc::clone(settings)
    } else {
        Arc::new(applied)
    };
}
