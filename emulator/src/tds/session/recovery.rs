//! SESSIONSTATE (MS-TDS 2.2.7.21): what of the session can be had again, and what cannot.
//!
//! The values are opaque to clients; which state has which id is not documented, so the ids here
//! are the emulator's own.

use std::collections::BTreeMap;

use super::Session;
use super::output::Output;
use crate::tds::sql::translator::literal;
use crate::tds::store::catalog;
use crate::tds::wire::bytes::put_utf16;
use crate::tds::wire::tokens::put_session_state;

/// From here on a state is one that cannot be recovered while it is there.
const UNRECOVERABLE: u8 = 10;

/// By id.
pub(super) type States = BTreeMap<u8, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// What the client knows.
    told: States,
    baseline: States,
    sequence: u32,
}

impl Recovery {
    pub(super) fn start(states: States) -> Self {
        Self {
            told: states.clone(),
            baseline: states,
            sequence: 0,
        }
    }

    /// RESETCONNECTION sets the client's trackers back, too.
    pub(super) fn reset(&mut self) {
        self.told.clone_from(&self.baseline);
    }
}

impl Session {
    /// For FEATUREEXTACK: everything that can be recovered.
    pub(in crate::tds) fn baseline(&self) -> Vec<(u8, Vec<u8>)> {
        let states = self.recovery.baseline.iter();
        states
            .filter(|(id, _)| **id < UNRECOVERABLE)
            .map(|(id, value)| (*id, value.clone()))
            .collect()
    }

    /// The tokens about what has changed since the client was told last; often none.
    pub(super) fn changed_states(&mut self) -> Vec<u8> {
        if !self.facts.has_recovery {
            return Vec::new();
        }
        let states = self.states();
        let told = &self.recovery.told;
        let changed: Vec<(u8, Vec<u8>)> = states
            .iter()
            .filter(|(id, value)| told.get(id) != Some(value))
            .map(|(id, value)| (*id, value.clone()))
            .collect();
        let mut bytes = Vec::new();
        // The flag belongs to the whole token: one token for those that are in the way of
        // recovery now, one for the others.
        let (lost, kept): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|(id, value)| *id >= UNRECOVERABLE && value.as_slice() != [0]);
        for (recoverable, states) in [(true, kept), (false, lost)] {
            if states.is_empty() {
                continue;
            }
            put_session_state(&mut bytes, self.recovery.sequence, recoverable, &states);
            self.recovery.sequence += 1;
            self.server.counters.session_states.add();
        }
        self.recovery.told = states;
        bytes
    }

    pub(super) fn states(&self) -> States {
        let options = &self.options;
        let context = &self.context;
        let text = |text: &str| {
            let mut bytes = Vec::new();
            put_utf16(&mut bytes, text);
            bytes
        };
        let mut language = text(options.language.name);
        language.push(options.date_first);
        language.extend(text(&options.date_format));
        let mut sizes = options.text_size.to_le_bytes().to_vec();
        sizes.extend(options.row_count.to_le_bytes());
        let mut timeouts = options.lock_timeout.to_le_bytes().to_vec();
        timeouts.extend(options.deadlock_priority.to_le_bytes());
        timeouts.extend(text(options.identity_insert.as_deref().unwrap_or_default()));
        let mut pairs = Vec::new();
        for (key, pair) in &context.pairs {
            pairs.extend(text(key));
            pairs.extend(format!("{:?}", pair.value).into_bytes());
        }
        let flag = |is_there: bool| vec![u8::from(is_there)];
        let is_acting = !context.impersonations.is_empty() || context.application_role.is_some();
        let has_locks = self.server.locks.has_session_locks(self.spid);
        BTreeMap::from([
            (0, options.bits()),
            (2, vec![options.isolation as u8]),
            (4, text(&context.database)),
            (5, language),
            (6, timeouts),
            (7, sizes),
            (8, context.info.clone()),
            (9, pairs),
            (UNRECOVERABLE, flag(self.has_temporary_tables())),
            (UNRECOVERABLE + 1, flag(self.cursors.has_any())),
            (UNRECOVERABLE + 2, flag(has_locks)),
            (UNRECOVERABLE + 3, flag(is_acting)),
            (UNRECOVERABLE + 4, flag(!context.trace_flags.is_empty())),
        ])
    }

    fn has_temporary_tables(&self) -> bool {
        !self.temporary_objects().is_empty() || !self.global_temporary.is_empty()
    }

    /// Temporary tables and procedures of this session.
    pub(super) fn drop_temporary_tables(&mut self) {
        for table in catalog::tables(&self.connection, "temp").unwrap_or_default() {
            self.drop_temporary(&table);
        }
        let _none = self
            .connection
            .execute_batch("DELETE FROM temp.tds_procedures");
        for table in std::mem::take(&mut self.global_temporary) {
            let name = crate::tds::sql::translator::quote(&table);
            let sql = format!(
                "DROP TABLE IF EXISTS tempdb.{name}; DELETE FROM tempdb.tds_columns WHERE tbl = {}",
                literal(&table)
            );
            let _best_effort = self.patiently(|connection| connection.execute_batch(&sql));
        }
    }

    pub(super) fn drop_temporary(&self, table: &str) {
        let name = crate::tds::sql::translator::quote(table);
        let _gone = self
            .connection
            .execute_batch(&format!("DROP TABLE IF EXISTS temp.{name}"));
        let _gone = catalog::forget(&self.connection, "temp", table);
    }

    /// Text options of DBCC USEROPTIONS as rows.
    pub(super) fn user_options(
        &self,
        out: &mut Output,
    ) -> Result<super::stop::Step, super::stop::Stop> {
        use super::rows::{Heading, put_metadata, put_row};
        use crate::tds::wire::kind::Kind;
        use crate::tds::wire::tokens::Done;
        use rusqlite::types::Value;
        let heading = |name: &str, size: u16| Heading {
            name: name.to_owned(),
            kind: Kind::nvarchar(size),
        };
        let headings = [heading("Set Option", 128), heading("Value", 46)];
        put_metadata(out, &headings);
        let mut count = 0;
        for (name, value) in self.options.shown() {
            let row = vec![Value::Text(name.to_owned()), Value::Text(value)];
            put_row(out, &headings, row)?;
            count += 1;
        }
        let mut done = Done::new(self.done_kind());
        done.rows = Some(count);
        out.done(done);
        Ok(super::stop::Step::Next)
    }
}
