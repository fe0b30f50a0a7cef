//! Nothing of one client is ever seen by another. Clients come and go at random over few backends,
//! each with a state that bears its name; whoever comes looks at everything that a session has.

use entrapool_emulator::tds::Profile;

use crate::client::Client;
use crate::dice::{Dice, seed};
use crate::intruder::LOOK;
use crate::requests::{Request, execute, prepare};
use crate::stage::{Setting, Stage};

/// Clients at a time; there are three backends.
const CLIENTS: usize = 6;

/// What is left at the end of a visit: the visitor's number stands for `{}`.
const CARRIED: &[&str] = &[
    "SET LOCK_TIMEOUT {}",
    "SET LOCK_TIMEOUT {} SET DATEFIRST 2",
    "SET ROWCOUNT {}",
    "SET ROWCOUNT 0",
    "SET LANGUAGE German",
    "SET LANGUAGE us_english",
    "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "EXEC('SET LOCK_TIMEOUT {}')",
    "SET NOCOUNT ON",
    "SET NOCOUNT OFF",
    "USE otherdb",
    "USE appdb",
];
/// With what takes it away again; empty if nothing does but the end of the session.
const PINNING: &[(&str, &str)] = &[
    (
        "CREATE TABLE #t1 (n int) INSERT INTO #t1 VALUES ({})",
        "DROP TABLE #t1",
    ),
    ("SELECT {} AS n INTO #t1", "DROP TABLE #t1"),
    ("SET CONTEXT_INFO 0x{4}", "SET CONTEXT_INFO NULL"),
    ("EXEC appdb..marks", ""),
    ("EXEC sp_set_session_context N'k', N'{}'", ""),
    ("EXEC appdb..keys '{}'", ""),
    (
        "DECLARE c1 CURSOR FOR SELECT {} AS n OPEN c1",
        "DEALLOCATE c1",
    ),
    (
        "EXEC sp_getapplock 'lock{}', 'Exclusive', 'Session', 0",
        "EXEC sp_releaseapplock 'lock{}', 'Session'",
    ),
    ("EXECUTE AS USER = 'guest'", ""),
    ("EXEC sp_setapprole 'approle', 'secret'", ""),
    ("BEGIN TRAN", "ROLLBACK"),
    ("SET LOCK_TIMEOUT {} SELECT 1", ""),
    ("BEGIN TRAN SET LOCK_TIMEOUT {} ROLLBACK", ""),
];

struct Visitor {
    number: usize,
    client: Client,
    /// What it has made of what is looked at, column by column; only this may differ.
    own: Vec<String>,
}

impl Visitor {
    async fn come(stage: &Stage, number: usize) -> Self {
        let mut client = stage.client().await;
        let own = client.run(LOOK).await;
        assert_eq!(own, fresh(), "visitor {number} is new");
        let text = format!("SELECT {number}");
        let prepared = Request::calls(&[prepare(&text, 0)]);
        client.run_request(&prepared, &text).await;
        Self {
            number,
            client,
            own,
        }
    }

    async fn look(&mut self) {
        let seen = self.client.run(LOOK).await;
        assert_eq!(seen, self.own, "visitor {}", self.number);
        let seen = self
            .client
            .run_request(&Request::calls(&[execute(0, &[])]), "its statement")
            .await;
        assert_eq!(seen, [self.number.to_string()], "visitor's statement");
    }

    /// Its text runs, and what that made different is its own from now on. What it can be is
    /// told by the same text on a server without anything in between: see `compare`.
    async fn run(&mut self, sql: &str, reference: &mut Client) {
        let sql = sql.replace("{}", &self.number.to_string());
        let sql = sql.replace("{4}", &format!("{:04}", self.number));
        self.client.run(&sql).await;
        reference.run(&sql).await;
        self.own = reference.run(LOOK).await;
        self.look().await;
    }
}

/// A session that has just been opened.
fn fresh() -> Vec<String> {
    let values = [
        "-1",
        "7",
        "2147483647",
        "us_english",
        "5432",
        "0",
        "appdb",
        "NULL",
        "NULL",
        "sa",
        "-3",
        "NULL",
        "NoLock",
        "0",
        "0",
        "2 0 mdy 0",
    ];
    values.map(str::to_owned).to_vec()
}

async fn rounds(profile: Profile, rounds: usize) {
    let mut dice = Dice::of(seed());
    // Two clients of a script and their intruder: three backends.
    let stage = Stage::set(profile, Setting::Auto, 2).await;
    let mut visitors = Vec::new();
    for number in 1..=CLIENTS {
        let reference = stage.reference().await;
        visitors.push((Visitor::come(&stage, number).await, reference));
    }
    for number in 0..rounds {
        let who = dice.below(CLIENTS);
        let (visitor, reference) = &mut visitors[who];
        visitor.look().await;
        for _ in 0..dice.below(3) {
            let sql = CARRIED[dice.below(CARRIED.len())];
            visitor.run(sql, reference).await;
        }
        if dice.below(3) > 0 {
            continue;
        }
        let (make, end) = PINNING[dice.below(PINNING.len())];
        visitor.run(make, reference).await;
        if end.is_empty() || dice.below(2) == 0 {
            // It leaves that to whoever cleans up.
            let number = CLIENTS + 1 + number;
            let reference = stage.reference().await;
            let next = Visitor::come(&stage, number).await;
            visitors[who] = (next, reference);
        } else {
            visitor.run(end, reference).await;
        }
    }
    let metrics = stage.proxy.metrics().await;
    assert!(metrics.value("entrapool_handovers_total", &[]) > rounds as f64 / 2.0);
    assert!(metrics.value("entrapool_pins_total", &[]) > rounds as f64 / 20.0);
    assert!(metrics.value("entrapool_probes_total", &[]) > rounds as f64 / 10.0);
}

#[tokio::test]
async fn nobody_sees_anything_of_anybody_else() {
    rounds(Profile::Azure, 300).await;
}

#[tokio::test]
async fn nobody_does_on_a_server_that_tells_little() {
    rounds(Profile::Bare, 150).await;
}

#[tokio::test]
#[ignore = "long: cargo xtask test --full"]
async fn nobody_does_for_long() {
    rounds(Profile::Azure, 6_000).await;
}

#[tokio::test]
#[ignore = "long: cargo xtask test --full"]
async fn nobody_does_for_long_on_a_server_that_tells_little() {
    rounds(Profile::Bare, 6_000).await;
}
