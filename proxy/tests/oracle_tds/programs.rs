//! Programs that are made at random, of everything that leaves something in a session.

use entrapool_emulator::tds::Profile;
use proptest::prelude::*;

use crate::client::WHOLE;
use crate::dice::{cases, try_programs};
use crate::intruder::Mood;
use crate::requests::{
    Call, close_cursor, execute, execute_sql, fetch_cursor, manager, open_cursor, prepare,
    prepare_and_execute, status, unprepare,
};
use crate::script::{Step, attention, batch, calls, manager as request};
use crate::stage::{Setting, Stage};

/// Clients of a program. Only the first writes what both see, and has transactions: the store
/// below the server has one writer, for whom the other would wait for ever.
const CLIENTS: usize = 2;

/// Batches for both. `{}` is a small number.
const LINES: &[&str] = &[
    "SELECT {}",
    "SELECT 1/0",
    "SELECT n FROM nowhere",
    "SELECT n FROM shared ORDER BY n",
    "SET LOCK_TIMEOUT {}00",
    "SET LOCK_TIMEOUT {}00 SET DATEFIRST {}",
    "SET DATEFIRST {}",
    "SET LANGUAGE German",
    "SET LANGUAGE us_english",
    "SET DATEFORMAT ymd",
    "SET ROWCOUNT {}",
    "SET ROWCOUNT 0",
    "SET NOCOUNT ON",
    "SET NOCOUNT OFF",
    "SET XACT_ABORT ON",
    "SET XACT_ABORT OFF",
    "SET TEXTSIZE {}000",
    "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET NO_SUCH_THING ON",
    "SET LOCK_TIMEOUT 5 SELECT 1/0",
    "SELECT @@LOCK_TIMEOUT, @@DATEFIRST, @@TEXTSIZE, @@LANGUAGE, @@OPTIONS, DB_NAME()",
    "SELECT transaction_isolation_level, row_count, date_format FROM sys.dm_exec_sessions \
     WHERE session_id = @@SPID",
    "SELECT n FROM (VALUES (1), (2), (3)) AS v (n)",
    "USE otherdb",
    "USE appdb",
    "USE nowhere",
    "EXEC('SET DATEFIRST {} SELECT @@DATEFIRST')",
    "EXEC appdb..quiet {}",
    "EXEC appdb..local_settings",
    "EXEC appdb..marks",
    "EXEC appdb..keys 'k{}'",
    "EXEC appdb..locks",
    "CREATE TABLE #t{} (n int)",
    "INSERT INTO #t{} VALUES ({})",
    "SELECT COUNT(*) FROM #t{}",
    "SELECT {} AS n INTO #t{}",
    "DROP TABLE #t{}",
    "DECLARE c{} CURSOR FOR SELECT n FROM (VALUES (1), (2), (3)) AS v (n)",
    "OPEN c{}",
    "FETCH NEXT FROM c{}",
    "CLOSE c{}",
    "DEALLOCATE c{}",
    "DECLARE @r int EXEC @r = sp_getapplock 'l{}', 'Exclusive', 'Session', 0 SELECT @r",
    "EXEC sp_releaseapplock 'l{}', 'Session'",
    "SELECT APPLOCK_MODE('public', 'l{}', 'Session')",
    "SET CONTEXT_INFO 0x4{}",
    "SET CONTEXT_INFO NULL",
    "EXEC sp_set_session_context N'k', N'v{}'",
    "EXEC sp_set_session_context N'k', NULL",
    "SELECT CONTEXT_INFO(), SESSION_CONTEXT(N'k'), USER_NAME()",
    "EXECUTE AS USER = 'guest'",
    "REVERT",
    "DBCC TRACEON (120{})",
    "DBCC TRACEOFF (120{})",
    "SELECT @@TRANCOUNT",
    "PRINT 'p{}'",
    "",
];
/// Batches for the first alone.
const WRITES: &[&str] = &[
    "BEGIN TRAN",
    "BEGIN TRAN BEGIN TRAN",
    "COMMIT",
    "ROLLBACK",
    "SAVE TRAN s{}",
    "ROLLBACK TRAN s{}",
    "IF @@TRANCOUNT > 0 COMMIT",
    "IF @@TRANCOUNT > 0 ROLLBACK",
    "COMMIT BEGIN TRAN",
    "BEGIN TRAN SET LOCK_TIMEOUT {} ROLLBACK",
    "SET IMPLICIT_TRANSACTIONS ON",
    "SET IMPLICIT_TRANSACTIONS OFF",
    "INSERT INTO appdb..shared VALUES ({})",
    "UPDATE appdb..shared SET n = n + 1",
    "DELETE FROM appdb..shared WHERE n = {}",
    "INSERT INTO appdb..counted (n) VALUES ({})",
    "INSERT INTO appdb..counted (n) VALUES ({}) SELECT @@IDENTITY",
    "EXEC appdb..opens",
    "EXEC appdb..closes",
    "BEGIN TRAN EXEC sp_getapplock 'l{}', 'Shared', 'Transaction', 0",
    "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT ERROR_NUMBER(), XACT_STATE() END CATCH",
];

/// What asks for what an earlier batch left: the answer is a server's, or ours that it is not
/// known any more.
const RECALLS: &[&str] = &[
    "SELECT @@ROWCOUNT",
    "SELECT @@ERROR",
    "SELECT @@IDENTITY",
    "SELECT ROWCOUNT_BIG()",
];

/// What one client does next.
#[derive(Debug, Clone)]
enum Act {
    Line(usize, u8),
    Several(usize, usize, u8),
    /// With the bit that resets the session, or the one that keeps the transaction.
    Reset(usize, u8, bool),
    Prepare(usize, u8),
    PrepareAndExecute(Option<u8>, usize, u8),
    Execute(u8),
    Unprepare(u8),
    ExecuteSql(usize, u8),
    Pipeline(u8, u8, usize),
    OpenCursor,
    Fetch(u8),
    CloseCursor(u8),
    /// A request to the Transaction Manager, of the first client.
    Manager(u8),
    Attention,
    Withdrawn(usize, u8),
    Recall(usize),
}

fn line(who: usize, index: usize, number: u8) -> String {
    let all = match who {
        0 => LINES.len() + WRITES.len(),
        _ => LINES.len(),
    };
    let index = index % all;
    let line = LINES.get(index).or_else(|| WRITES.get(index - LINES.len()));
    let number = number % 3 + 1;
    line.map_or_else(String::new, |line| line.replace("{}", &number.to_string()))
}

impl Act {
    fn step(&self, who: usize) -> Step {
        let one = |words: String, call: Call| calls(who, &words, &[call]);
        match *self {
            Self::Line(index, number) => batch(who, &line(who, index, number)),
            Self::Several(first, second, number) => {
                let (first, second) = (line(who, first, number), line(who, second, number));
                batch(who, &format!("{first} {second}"))
            }
            Self::Reset(index, number, keeps) => {
                batch(who, &line(who, index, number)).bits(match keeps {
                    true => status::RESET_KEEPING_TRANSACTION,
                    false => status::RESET,
                })
            }
            Self::Prepare(index, number) => {
                let sql = line(who, index, number);
                one(format!("prepare {sql}"), prepare(&sql, 0))
            }
            Self::PrepareAndExecute(old, index, number) => {
                let sql = line(who, index, number);
                let words = format!("prepexec {old:?} {sql}");
                one(words, prepare_and_execute(old.map(usize::from), &sql, &[]))
            }
            Self::Execute(at) => one(format!("execute {at}"), execute(at.into(), &[])),
            Self::Unprepare(at) => one(format!("unprepare {at}"), unprepare(at.into())),
            Self::ExecuteSql(index, number) => {
                let sql = line(who, index, number);
                one(format!("executesql {sql}"), execute_sql(&sql, &[]))
            }
            Self::Pipeline(first, second, index) => {
                let sql = line(who, index, first);
                calls(
                    who,
                    &format!("execute {first}, {second}, executesql {sql}"),
                    &[
                        execute(first.into(), &[]),
                        execute(second.into(), &[]),
                        execute_sql(&sql, &[]),
                    ],
                )
            }
            Self::OpenCursor => {
                let sql = "SELECT n FROM (VALUES (1), (2), (3)) AS v (n)";
                one("open a cursor".to_owned(), open_cursor(sql))
            }
            Self::Fetch(at) => one(format!("fetch {at}"), fetch_cursor(at.into(), 1)),
            Self::CloseCursor(at) => one(format!("close {at}"), close_cursor(at.into())),
            Self::Manager(what) => match (who, what) {
                (0, 0) => request(who, "begin", &manager::begin(0)),
                (0, 1) => request(who, "begin snapshot", &manager::begin(5)),
                (0, 2) => request(who, "commit", &manager::commit()),
                (0, 3) => request(who, "rollback", &manager::rollback()),
                (0, 4) => request(who, "commit and begin", &manager::commit_and_begin()),
                (0, 5) => request(who, "rollback and begin", &manager::rollback_and_begin()),
                (0, 6) => request(who, "save", &manager::save("s1")),
                (0, _) => request(who, "rollback to", &manager::rollback_to("s1")),
                _ => batch(who, "SELECT 5"),
            },
            Self::Attention => attention(who),
            Self::Recall(index) => batch(who, RECALLS[index % RECALLS.len()]),
            Self::Withdrawn(index, number) => {
                let sql = line(who, index, number);
                let long = format!("{sql} /* {} */", "w".repeat(6000));
                batch(who, &long).withdrawn(2)
            }
        }
    }

    fn any() -> impl Strategy<Value = Self> {
        let index = 0..LINES.len() + WRITES.len();
        let small = 0_u8..4;
        let line = (index.clone(), small.clone());
        prop_oneof![
            24 => line.clone().prop_map(|(index, number)| Self::Line(index, number)),
            3 => (index.clone(), index.clone(), small.clone())
                .prop_map(|(one, other, number)| Self::Several(one, other, number)),
            1 => (index.clone(), small.clone(), any::<bool>())
                .prop_map(|(index, number, keeps)| Self::Reset(index, number, keeps)),
            3 => line.clone().prop_map(|(index, number)| Self::Prepare(index, number)),
            2 => (proptest::option::of(small.clone()), index.clone(), small.clone())
                .prop_map(|(old, index, number)| Self::PrepareAndExecute(old, index, number)),
            5 => small.clone().prop_map(Self::Execute),
            1 => small.clone().prop_map(Self::Unprepare),
            2 => line.clone().prop_map(|(index, number)| Self::ExecuteSql(index, number)),
            1 => (small.clone(), small.clone(), index.clone())
                .prop_map(|(one, other, index)| Self::Pipeline(one, other, index)),
            1 => Just(Self::OpenCursor),
            1 => small.clone().prop_map(Self::Fetch),
            1 => small.prop_map(Self::CloseCursor),
            3 => (0_u8..8).prop_map(Self::Manager),
            1 => Just(Self::Attention),
            2 => (0..RECALLS.len()).prop_map(Self::Recall),
            1 => line.prop_map(|(index, number)| Self::Withdrawn(index, number)),
        ]
    }
}

type Program = (Vec<(usize, Act, usize)>, usize);

fn program() -> impl Strategy<Value = Program> {
    let steps = proptest::collection::vec((0..CLIENTS, Act::any(), 0..5_usize), 1..40);
    let piece = prop_oneof![Just(WHOLE), 1_usize..60];
    (steps, piece)
}

/// Runs so many programs of so many clients; one that differs is made as short as can be.
fn run(profile: Profile, setting: Setting, clients: usize, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let stage = runtime.block_on(Stage::set(profile, setting, clients));
    let all = stage.all_moods();
    let test = |(program, piece): Program| {
        let script: Vec<Step> = program
            .iter()
            .map(|(who, act, _)| act.step(who % clients))
            .collect();
        let moods: Vec<Mood> = program
            .iter()
            .map(|(_, _, mood)| all[mood % all.len()])
            .collect();
        runtime.block_on(stage.compare(&script, &moods, piece))
    };
    let log = || stage.proxy.log().tail();
    try_programs(cases, &program(), test, log);
    let metrics = runtime.block_on(stage.proxy.metrics());
    assert!(metrics.value("entrapool_handovers_total", &[]) > f64::from(cases) * 2.0);
}

#[test]
fn programs_are_as_without_us() {
    run(Profile::Azure, Setting::Auto, CLIENTS, 60);
}

#[test]
fn programs_on_a_server_that_tells_little_are_as_without_us() {
    run(Profile::Bare, Setting::Auto, CLIENTS, 40);
}

/// Two backends for two clients and the intruder.
#[test]
fn programs_with_too_few_backends_are_as_without_us() {
    run(Profile::Azure, Setting::Crowded, CLIENTS, 20);
}

/// One backend for a client and the intruder.
#[test]
fn programs_with_one_backend_are_as_without_us() {
    run(Profile::Azure, Setting::Crowded, 1, 20);
    run(Profile::Bare, Setting::Crowded, 1, 20);
}

#[test]
#[ignore = "long: cargo xtask test --full"]
fn many_programs_are_as_without_us() {
    run(
        Profile::Azure,
        Setting::Auto,
        CLIENTS,
        cases().unwrap_or(1_500),
    );
}

#[test]
#[ignore = "long: cargo xtask test --full"]
fn many_programs_on_a_server_that_tells_little_are_as_without_us() {
    run(
        Profile::Bare,
        Setting::Auto,
        CLIENTS,
        cases().unwrap_or(1_000),
    );
}

#[test]
#[ignore = "long: cargo xtask test --full"]
fn many_programs_with_few_backends_are_as_without_us() {
    let cases = cases().unwrap_or(150);
    run(Profile::Azure, Setting::Crowded, CLIENTS, cases);
    for profile in [Profile::Azure, Profile::Bare] {
        run(profile, Setting::Crowded, 1, cases);
    }
}
