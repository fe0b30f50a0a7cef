//! Another client, whose work comes between the steps of a script. It has a state of its own, and
//! sees to it that it stays its own.

use std::time::Duration;

use crate::client::{Client, WHOLE, last_row};
use crate::requests::{Request, execute, manager, prepare};

/// What it does around a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It looks around before the step: its backend has been another's.
    Before,
    /// A transaction open during the step: its backend can't be the last one.
    During,
    /// It changes its settings before the step.
    Changing,
    /// It has for a while what can't be carried: a temporary table, a lock, CONTEXT_INFO.
    Staying,
    /// A statement that looks at nothing, before the step.
    Passing,
    /// It looks around if it gets a backend at once; else it takes its request back.
    Trying,
    /// Nothing.
    Away,
}

/// For scripts about state, where each client can have a backend.
pub(crate) const MOODS: [Mood; 5] = [
    Mood::Before,
    Mood::During,
    Mood::Changing,
    Mood::Staying,
    Mood::Away,
];
/// For scripts in transaction mode, which keeps no settings.
pub(crate) const BRIEF: [Mood; 3] = [Mood::Passing, Mood::During, Mood::Away];
/// Where there are fewer backends than clients.
pub(crate) const CROWDED: [Mood; 2] = [Mood::Trying, Mood::Away];

/// How long it tries.
const TRY: Duration = Duration::from_millis(15);

/// Everything that a session has. The values are the intruder's own, or those of a new session.
pub(crate) const LOOK: &str = "SELECT @@LOCK_TIMEOUT, @@DATEFIRST, @@TEXTSIZE, @@LANGUAGE, \
     @@OPTIONS, @@TRANCOUNT, DB_NAME(), CONTEXT_INFO(), SESSION_CONTEXT(N'k'), USER_NAME(), \
     CURSOR_STATUS('global', 'c1'), OBJECT_ID('tempdb..#t1') * 0, \
     APPLOCK_MODE('public', 'l1', 'Session'), \
     (SELECT COUNT(*) FROM sys.dm_tran_locks WHERE request_session_id = @@SPID), \
     (SELECT COUNT(*) FROM sys.dm_exec_cursors(@@SPID)), \
     (SELECT CONCAT(transaction_isolation_level, ' ', row_count, ' ', date_format, ' ', \
     deadlock_priority) FROM sys.dm_exec_sessions WHERE session_id = @@SPID)";

pub(crate) struct Intruder {
    client: Client,
    /// Its settings are its own: not in transaction mode.
    keeps_settings: bool,
    changes: i32,
    user: String,
}

impl Intruder {
    pub(crate) async fn begin(mut client: Client, keeps_settings: bool) -> Self {
        let user = client.run("SELECT USER_NAME()").await.remove(0);
        if keeps_settings {
            client.run("SET LOCK_TIMEOUT 500 SET DATEFIRST 3").await;
        }
        let words = "the intruder prepares";
        let prepared = Request::calls(&[prepare("SELECT @P1 + 1000", 1)]);
        client.run_request(&prepared, words).await;
        assert_eq!(client.handles(), 1, "{words}");
        Self {
            client,
            keeps_settings,
            changes: 0,
            user,
        }
    }

    pub(crate) async fn before(&mut self, mood: Mood) {
        match mood {
            Mood::Before => {
                self.look().await;
                self.execute().await;
            }
            Mood::During => {
                let begin = Request::transaction(&manager::begin(0));
                self.client.run_request(&begin, "begin").await;
            }
            Mood::Changing => {
                self.changes += 1;
                let set = format!("SET LOCK_TIMEOUT {}", 500 + self.changes);
                self.client.run(&set).await;
            }
            Mood::Staying => self.stay().await,
            Mood::Passing => {
                self.client.run("SELECT 1").await;
            }
            Mood::Trying => self.try_to_look().await,
            Mood::Away => {}
        }
    }

    pub(crate) async fn after(&mut self, mood: Mood) {
        if mood == Mood::During {
            self.execute().await;
            let rollback = Request::transaction(&manager::rollback());
            self.client.run_request(&rollback, "rollback").await;
        }
    }

    /// Its own session, and nothing of anybody else's.
    async fn look(&mut self) {
        let seen = self.client.run(LOOK).await;
        self.compare(&seen);
    }

    fn compare(&self, seen: &[String]) {
        let (timeout, first) = match self.keeps_settings {
            true => (500 + self.changes, "3"),
            false => (-1, "7"),
        };
        let own = [
            &timeout.to_string(),
            first,
            "2147483647",
            "us_english",
            "5432",
            "0",
            "appdb",
            "NULL",
            "NULL",
            &self.user,
            "-3",
            "NULL",
            "NoLock",
            "0",
            "0",
            "2 0 mdy 0",
        ];
        assert_eq!(seen, own, "the intruder's session");
    }

    async fn execute(&mut self) {
        let request = Request::calls(&[execute(0, &[7])]);
        let seen = self.client.run_request(&request, "sp_execute").await;
        assert_eq!(seen, ["1007"], "the intruder's statement");
    }

    async fn stay(&mut self) {
        let client = &mut self.client;
        client.run("CREATE TABLE #intruder (n int)").await;
        client.run("INSERT INTO #intruder VALUES (41)").await;
        let seen = client.run("SELECT n + 1 FROM #intruder").await;
        assert_eq!(seen, ["42"]);
        client
            .run("EXEC sp_getapplock 'intruder', 'Exclusive', 'Session', 0")
            .await;
        client.run("DROP TABLE #intruder").await;
        client.run("SET CONTEXT_INFO 0x494e").await;
        client
            .run("EXEC sp_releaseapplock 'intruder', 'Session'")
            .await;
        client.run("SET CONTEXT_INFO NULL").await;
        self.look().await;
    }

    async fn try_to_look(&mut self) {
        self.client.send(&Request::batch(LOOK), WHOLE).await;
        if let Some(answer) = self.client.answer_within(TRY).await {
            self.compare(&last_row(&answer, "look"));
            return;
        }
        self.client.send(&Request::attention(), WHOLE).await;
        // It may have come to an answer meanwhile.
        let answer = self.client.answer(true).await.expect("an end");
        let seen = last_row(&answer, "look");
        if !seen.is_empty() {
            self.compare(&seen);
        }
    }
}
