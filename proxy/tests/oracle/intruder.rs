//! Another client, whose work comes between the steps of a script. It has a state of its own,
//! and sees to it that it stays its own.

use crate::sidecar::Raw;

/// What it does around a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// A transaction before the step: its backend has been another's.
    Before,
    /// A transaction open during the step: its backend can't be the last one.
    During,
    /// It changes its settings before the step.
    Changing,
    /// A transaction that looks at nothing, before the step.
    Passing,
    /// Nothing.
    Away,
}

/// For scripts about state, in modes that keep it.
pub(crate) const MOODS: [Mood; 4] = [Mood::Before, Mood::During, Mood::Changing, Mood::Away];

pub(crate) struct Intruder {
    raw: Raw,
    changes: u32,
}

impl Intruder {
    pub(crate) async fn begin(mut raw: Raw) -> Self {
        run(
            &mut raw,
            "set work_mem = '64kB'; set app.x = 'intruder 0'; set search_path = intruder",
        )
        .await;
        Self { raw, changes: 0 }
    }

    pub(crate) async fn before(&mut self, mood: Mood) {
        match mood {
            Mood::Before => self.look().await,
            Mood::During => {
                run(&mut self.raw, "begin").await;
            }
            Mood::Changing => {
                self.changes += 1;
                let set = format!(
                    "set work_mem = '{}kB'; select set_config('app.x', 'intruder {}', false)",
                    self.changes + 64,
                    self.changes
                );
                run(&mut self.raw, &set).await;
            }
            Mood::Passing => {
                run(&mut self.raw, "select 1").await;
            }
            Mood::Away => {}
        }
    }

    pub(crate) async fn after(&mut self, mood: Mood) {
        if mood == Mood::During {
            self.look().await;
            run(&mut self.raw, "rollback").await;
        }
    }

    /// Its own settings, and nothing of anybody else's.
    async fn look(&mut self) {
        let state = "select concat_ws('|', current_setting('work_mem'), \
             current_setting('app.x'), coalesce(current_setting('app.y', true), ''), \
             current_setting('search_path'), current_setting('TimeZone'), \
             current_setting('statement_timeout'), current_user = session_user, \
             (select count(*) from pg_listening_channels()), \
             (select count(*) from pg_prepared_statements where from_sql), \
             (select count(*) from pg_cursors where is_holdable), \
             (select count(*) from pg_class where relnamespace = pg_my_temp_schema()), \
             (select count(*) from pg_locks where locktype = 'advisory' \
              and pid = pg_backend_pid()))";
        let seen = run(&mut self.raw, state).await;
        let own = format!(
            "{}kB|intruder {}||intruder|UTC|0|t|0|0|0|0|0",
            self.changes + 64,
            self.changes
        );
        assert_eq!(
            seen.as_deref(),
            Some(own.as_str()),
            "the intruder's session"
        );
    }
}

async fn run(raw: &mut Raw, sql: &str) -> Option<String> {
    let answer = raw.query(sql).await;
    for message in &answer {
        assert_ne!(message.tag, b'E', "{sql}: {:?}", message.fields());
    }
    answer
        .iter()
        .find(|message| message.tag == b'D')
        .map(crate::sidecar::Message::column)
}
