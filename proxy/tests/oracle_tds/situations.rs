//! Scripts that are written by hand, one per situation; and the runs of all of them.

use entrapool_emulator::tds::Profile;

use crate::answers::Answer;
use crate::client::WHOLE;
use crate::dice::{Dice, seed};
use crate::prepared::prepared;
use crate::script::{Step, batch, sql};
use crate::stage::{Setting, Stage};
use crate::state::state;
use crate::streams::streams;
use crate::transactions::transactions;

/// A script and its name.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
    /// It needs nothing of its session but prepared statements: any mode will do.
    pub(crate) is_stateless: bool,
}

impl Script {
    pub(crate) fn new(name: &'static str, steps: Vec<Step>) -> Self {
        Self {
            name,
            steps,
            is_stateless: false,
        }
    }

    pub(crate) fn stateless(mut self) -> Self {
        self.is_stateless = true;
        self
    }
}

/// A script of batches of one client.
pub(crate) fn alone(name: &'static str, batches: &[&str]) -> Script {
    Script::new(name, batches.iter().map(|text| sql(text)).collect())
}

/// A script of batches of two clients.
pub(crate) fn two(name: &'static str, batches: &[(usize, &str)]) -> Script {
    let steps = batches.iter().map(|&(who, text)| batch(who, text));
    Script::new(name, steps.collect())
}

fn scripts() -> Vec<Script> {
    let mut all = settings();
    all.extend(state());
    all.extend(transactions());
    all.extend(prepared());
    all.extend(streams());
    all
}

/// What shows most settings.
const SHOW: &str =
    "SELECT @@LOCK_TIMEOUT, @@DATEFIRST, @@TEXTSIZE, @@LANGUAGE, @@OPTIONS, DB_NAME()";
const LEVEL: &str = "SELECT transaction_isolation_level, row_count, date_format, deadlock_priority \
     FROM sys.dm_exec_sessions WHERE session_id = @@SPID";

#[expect(clippy::too_many_lines, reason = "a long list")]
fn settings() -> Vec<Script> {
    vec![
        alone(
            "as pymssql begins",
            &[
                "SET ARITHABORT ON;SET CONCAT_NULL_YIELDS_NULL ON;SET ANSI_NULLS ON;\
                 SET ANSI_NULL_DFLT_ON ON;SET ANSI_PADDING ON;SET ANSI_WARNINGS ON;\
                 SET ANSI_NULL_DFLT_ON ON;SET CURSOR_CLOSE_ON_COMMIT ON;SET QUOTED_IDENTIFIER ON;\
                 SET TEXTSIZE 2147483647;use [appdb]",
                SHOW,
                "BEGIN TRAN",
                "INSERT INTO shared VALUES (1)",
                "COMMIT",
                "BEGIN TRAN",
                "SELECT n FROM shared",
                "ROLLBACK",
                SHOW,
            ],
        ),
        alone(
            "as tedious begins",
            &[
                "set textsize 2147483647\r\nset quoted_identifier on\r\nset arithabort on\r\n\
                 set numeric_roundabort off\r\nset ansi_warnings on\r\nset ansi_padding on\r\n\
                 set ansi_nulls on\r\nset ansi_null_dflt_on on\r\n\
                 set concat_null_yields_null on\r\nset cursor_close_on_commit off\r\n\
                 set implicit_transactions off\r\nset language us_english\r\n\
                 set dateformat mdy\r\nset datefirst 7\r\n\
                 set transaction isolation level read committed",
                SHOW,
                LEVEL,
                "select n from shared",
            ],
        ),
        alone(
            "as jTDS begins",
            &[
                "SELECT @@MAX_PRECISION\r\nSET TRANSACTION ISOLATION LEVEL READ COMMITTED\r\n\
                 SET IMPLICIT_TRANSACTIONS OFF\r\nSET QUOTED_IDENTIFIER ON\r\nSET TEXTSIZE 2147483647",
                SHOW,
                "SET IMPLICIT_TRANSACTIONS ON",
                "INSERT INTO shared VALUES (1)",
                "SELECT @@TRANCOUNT",
                "IF @@TRANCOUNT > 0 COMMIT TRAN",
                "SELECT n FROM shared",
                "IF @@TRANCOUNT > 0 ROLLBACK TRAN",
                "SET IMPLICIT_TRANSACTIONS OFF",
                "SELECT n FROM shared",
                "SELECT @@TRANCOUNT",
            ],
        ),
        alone(
            "settings one by one",
            &[
                "SET LOCK_TIMEOUT 1234",
                SHOW,
                "SET DATEFIRST 1",
                SHOW,
                "SET LANGUAGE German",
                SHOW,
                LEVEL,
                "SET DATEFORMAT ymd",
                LEVEL,
                "SET TEXTSIZE 100",
                SHOW,
                "SET ANSI_NULLS, ANSI_PADDING OFF",
                SHOW,
                "SET ANSI_NULLS ON SET NOCOUNT ON",
                SHOW,
                "SET ROWCOUNT 2",
                LEVEL,
                "SELECT n FROM (VALUES (1), (2), (3)) AS v (n)",
                "SET ROWCOUNT 0",
                "SELECT n FROM (VALUES (1), (2), (3)) AS v (n)",
                "SET DEADLOCK_PRIORITY HIGH",
                LEVEL,
                "SET LOCK_TIMEOUT -1",
                SHOW,
            ],
        ),
        alone(
            "settings among other things",
            &[
                "SET NOCOUNT ON; SELECT 1",
                SHOW,
                "SELECT 1 SET NOCOUNT OFF",
                SHOW,
                "DECLARE @n int SET @n = 5 SET LOCK_TIMEOUT @n SELECT @n",
                SHOW,
                "IF 1 = 1 SET DATEFIRST 2",
                SHOW,
                "SET NOCOUNT ON INSERT INTO shared VALUES (1) SET NOCOUNT OFF",
                SHOW,
                "SELECT n FROM shared",
            ],
        ),
        alone(
            "settings that fail",
            &[
                "SET LOCK_TIMEOUT 77",
                "SET LANGUAGE Klingon",
                SHOW,
                "SET DATEFORMAT xyz",
                SHOW,
                "SET NO_SUCH_OPTION ON",
                SHOW,
                "SET DATEFIRST 3 SET LANGUAGE Klingon",
                SHOW,
                "USE nowhere",
                SHOW,
                "USE nowhere SELECT 1",
                SHOW,
                "SET DATEFIRST 4 USE nowhere SET LOCK_TIMEOUT 78 SELECT 1",
                SHOW,
            ],
        ),
        alone(
            "USE",
            &[
                "USE otherdb",
                "SELECT DB_NAME()",
                "CREATE TABLE there (n int)",
                "INSERT INTO there VALUES (1)",
                "SELECT n FROM there",
                "SELECT n FROM appdb.dbo.shared",
                "USE [appdb]",
                "SELECT n FROM there",
                "SELECT n FROM otherdb..there",
                "USE otherdb; DROP TABLE there",
                "SELECT DB_NAME()",
                "USE appdb",
                "SELECT DB_NAME()",
            ],
        ),
        alone(
            "SET in procedures and in dynamic SQL",
            &[
                "EXEC local_settings",
                SHOW,
                "SET LOCK_TIMEOUT 55",
                "EXEC local_settings",
                SHOW,
                "EXEC('SET LOCK_TIMEOUT 66 SELECT @@LOCK_TIMEOUT')",
                SHOW,
                "EXEC sp_executesql N'USE otherdb SELECT DB_NAME()'",
                SHOW,
                "EXEC('CREATE TABLE #gone (n int)')",
                "SELECT n FROM #gone",
                "SELECT n FROM #inside",
            ],
        ),
        alone(
            "isolation levels",
            &[
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                LEVEL,
                "BEGIN TRAN SELECT n FROM shared",
                LEVEL,
                "ROLLBACK",
                LEVEL,
                "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
                "SELECT n FROM shared",
                LEVEL,
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                LEVEL,
            ],
        ),
        two(
            "two clients, two kinds of settings",
            &[
                (0, "SET LOCK_TIMEOUT 10 SET DATEFIRST 1"),
                (1, "SET LOCK_TIMEOUT 20"),
                (0, SHOW),
                (1, SHOW),
                (1, "SET DATEFIRST 2"),
                (0, "USE otherdb"),
                (1, SHOW),
                (0, SHOW),
                (1, "INSERT INTO shared VALUES (1)"),
                (0, "SELECT n FROM appdb..shared"),
                (1, "USE appdb"),
                (0, "SET TRANSACTION ISOLATION LEVEL SNAPSHOT"),
                (1, LEVEL),
                (0, LEVEL),
            ],
        ),
        two(
            "plain work of two clients",
            &[
                (0, "INSERT INTO shared VALUES (1)"),
                (1, "SELECT n FROM shared"),
                (1, "UPDATE shared SET n = n + 1"),
                (0, "SELECT n FROM shared"),
                (
                    0,
                    "DELETE FROM shared WHERE n = 2 SELECT COUNT(*) FROM shared",
                ),
                (1, "SELECT * FROM nowhere"),
                (1, "SELECT 1"),
                (0, "SELECT 1/0"),
                (0, "EXEC quiet 41"),
                (1, "quiet 1"),
                (1, "EXEC fails"),
            ],
        )
        .stateless(),
    ]
}

async fn run(profile: Profile, setting: Setting, keep: impl Fn(&Script) -> bool) -> Stage {
    let stage = Stage::set(profile, setting, 2).await;
    let mut dice = Dice::of(seed());
    let mut failed = Vec::new();
    for (at, script) in scripts().iter().filter(|script| keep(script)).enumerate() {
        println!("{}", script.name);
        let piece = match dice.below(2) {
            0 => WHOLE,
            _ => 1 + dice.below(60),
        };
        for (moods, piece) in [
            (stage.moods(at), WHOLE),
            (vec![stage.all_moods()[0]], piece),
        ] {
            if let Err(why) = stage.compare(&script.steps, &moods, piece).await {
                failed.push(format!(
                    "{}: pieces of {piece}, {moods:?}\n{why}",
                    script.name
                ));
                break;
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} scripts differ\n{}\n{}",
        failed.len(),
        failed.join("\n\n"),
        stage.proxy.log().tail()
    );
    stage
}

async fn value(stage: &Stage, name: &str) -> f64 {
    stage.proxy.metrics().await.value(name, &[])
}

async fn runs_in_auto(profile: Profile) {
    let stage = run(profile, Setting::Auto, |_| true).await;
    assert!(value(&stage, "entrapool_handovers_total").await > 300.0);
    assert!(value(&stage, "entrapool_probes_total").await > 100.0);
    assert!(value(&stage, "entrapool_pins_total").await > 30.0);
    assert_eq!(stage.server().counters().size_violations(), 0);
    assert_eq!(stage.server().counters().protocol_violations(), 0);
}

#[tokio::test]
async fn scripts_are_as_without_us() {
    runs_in_auto(Profile::Azure).await;
}

#[tokio::test]
async fn scripts_on_a_server_that_tells_little_are_as_without_us() {
    runs_in_auto(Profile::Bare).await;
}

#[tokio::test]
async fn scripts_with_too_few_backends_are_as_without_us() {
    let stage = run(Profile::Azure, Setting::Crowded, |_| true).await;
    assert!(value(&stage, "entrapool_handovers_total").await > 100.0);
}

#[tokio::test]
async fn scripts_in_session_mode_are_as_without_us() {
    let stage = run(Profile::Azure, Setting::Session, |_| true).await;
    assert_eq!(value(&stage, "entrapool_probes_total").await as u64, 0);
}

#[tokio::test]
async fn scripts_without_state_in_transaction_mode_are_as_without_us() {
    let stage = run(Profile::Azure, Setting::Transaction, |script| {
        script.is_stateless
    })
    .await;
    assert!(value(&stage, "entrapool_handovers_total").await > 20.0);
}

/// A script that the server does not understand would compare nothing.
#[tokio::test]
async fn the_server_understands_the_scripts() {
    for profile in [Profile::Azure, Profile::Bare] {
        let stage = Stage::set(profile, Setting::Auto, 2).await;
        let mut unknown = Vec::new();
        for script in scripts() {
            let answers = stage.directly(&script.steps).await;
            let all = script.steps.iter().zip(&answers);
            let refused = all.filter(|(_, answer)| answer.iter().any(Answer::is_unsupported));
            let refused =
                refused.map(|(step, answer)| format!("{}: {step:?}: {answer:?}", script.name));
            unknown.extend(refused);
        }
        assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    }
}
