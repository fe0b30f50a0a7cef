//! Nothing of one client is ever seen by another. Clients come and go at random over few backends,
//! each with a state that bears its name; whoever comes looks at everything that a session has.

use crate::dice::{Dice, seed};
use crate::sidecar::{Message, Raw};
use crate::stage::Stage;

/// Clients at a time; there are two backends.
const CLIENTS: usize = 6;

/// What is left at the end of a visit, and how long: the name stands for `{}`.
const CARRIED: &[&str] = &[
    "set app.x = '{}'",
    "select set_config('app.y', '{}', false)",
    "set search_path = \"{}\", public",
    "begin; set app.x = '{}'; commit",
    "begin; set app.x = 'nobody'; rollback",
    "do $$ begin perform set_config('app.y', '{}', false); end $$",
    "reset app.x",
    "reset all",
    "discard all",
];
/// With what takes it away again.
const PINNING: &[(&str, &str)] = &[
    ("create temp table t as select '{}' as name", "drop table t"),
    ("select '{}' as name into temp u", "discard temp"),
    ("prepare p as select '{}'", "deallocate p"),
    ("declare c cursor with hold for select '{}'", "close c"),
    ("listen \"{}\"", "unlisten *"),
    (
        "select pg_advisory_lock(hashtext('{}'))",
        "select pg_advisory_unlock_all()",
    ),
    ("select temporary()", "discard all"),
];
/// What a session has, as texts: each is empty, public, or has the client's name.
const LOOK: &str = "select coalesce(current_setting('app.x', true), '') union all \
    select coalesce(current_setting('app.y', true), '') union all \
    select current_setting('search_path') union all \
    select nspname || '.' || relname from pg_class join pg_namespace n on n.oid = relnamespace \
        where relnamespace = pg_my_temp_schema() union all \
    select name from pg_prepared_statements where from_sql union all \
    select statement from pg_cursors where is_holdable union all \
    select pg_listening_channels() union all \
    select locktype from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";

struct Visitor {
    name: String,
    raw: Raw,
}

async fn run(raw: &mut Raw, sql: &str) -> Vec<String> {
    let answer = raw.query(sql).await;
    for message in &answer {
        assert_ne!(message.tag, b'E', "{sql}: {:?}", message.fields());
    }
    let rows = answer.iter().filter(|message| message.tag == b'D');
    rows.map(Message::column).collect()
}

impl Visitor {
    async fn look(&mut self, pinned: bool) {
        for seen in run(&mut self.raw, LOOK).await {
            let own = seen.is_empty() || seen.contains("public") || seen.contains(&self.name);
            let kept = pinned && (seen.starts_with("pg_temp") || seen == "p" || seen == "advisory");
            assert!(own || kept, "{} sees {seen:?}", self.name);
        }
    }

    async fn visit(&mut self, dice: &mut Dice) {
        self.look(false).await;
        for _ in 0..dice.below(3) {
            let sql = CARRIED[dice.below(CARRIED.len())].replace("{}", &self.name);
            run(&mut self.raw, &sql).await;
            self.look(false).await;
        }
    }

    /// With state that can't be carried; taken away again, or left to whoever cleans up.
    async fn stay(&mut self, dice: &mut Dice) -> bool {
        let (make, end) = PINNING[dice.below(PINNING.len())];
        run(&mut self.raw, &make.replace("{}", &self.name)).await;
        self.look(true).await;
        let leaves = dice.below(2) == 0;
        if !leaves {
            run(&mut self.raw, end).await;
            self.look(false).await;
        }
        leaves
    }
}

async fn rounds(rounds: usize) {
    let mut dice = Dice::of(seed());
    // One client of a script and its intruder: two backends.
    let stage = Stage::set("auto", 1, "").await;
    let mut visitors = Vec::new();
    for number in 0..CLIENTS + rounds {
        if number < CLIENTS {
            let (name, raw) = (format!("visitor{number}x"), stage.proxy.raw().await);
            visitors.push(Visitor { name, raw });
            continue;
        }
        let who = dice.below(CLIENTS);
        visitors[who].visit(&mut dice).await;
        if dice.below(3) == 0 && visitors[who].stay(&mut dice).await {
            let (name, raw) = (format!("visitor{number}x"), stage.proxy.raw().await);
            visitors[who] = Visitor { name, raw };
        }
    }
    let metrics = stage.proxy.metrics().await;
    assert!(metrics.value("entrapool_handovers_total", &[]) > rounds as f64 / 2.0);
    assert!(metrics.value("entrapool_pins_total", &[]) > rounds as f64 / 10.0);
}

#[tokio::test]
async fn nobody_sees_anything_of_anybody_else() {
    rounds(300).await;
}

#[tokio::test]
#[ignore = "long: cargo xtask test --full"]
async fn nobody_does_for_long() {
    rounds(10_000).await;
}
