//! Scripts about prepared statements: by number, by name, in every order, on any backend.

use crate::requests::{
    Call, execute, execute_sql, manager, prepare, prepare_and_execute, status, unprepare,
};
use crate::script::{Step, calls, manager as request, sql};
use crate::situations::Script;

pub(crate) fn prepared() -> Vec<Script> {
    vec![
        Script::new("handles", handles()).stateless(),
        Script::new("handles by name", by_name()).stateless(),
        Script::new("handles of two clients", of_two()).stateless(),
        Script::new("handles that are not there", unknown()).stateless(),
        Script::new("several calls in one message", several()).stateless(),
        Script::new("statements that leave something", leaving()),
        Script::new("what statements depend on", contexts()),
        Script::new("more statements than a backend keeps", many()).stateless(),
        Script::new("handles and transactions", in_transactions()).stateless(),
    ]
}

fn handles() -> Vec<Step> {
    vec![
        calls(0, "prepare 0", &[prepare("SELECT @P1 + 1", 1)]),
        calls(0, "execute 0", &[execute(0, &[1])]),
        calls(0, "execute 0", &[execute(0, &[2])]),
        calls(
            0,
            "prepexec 1",
            &[prepare_and_execute(None, "SELECT @P1 * @P2", &[3, 4])],
        ),
        calls(0, "execute 1", &[execute(1, &[5, 6])]),
        calls(
            0,
            "prepexec 2 for 0",
            &[prepare_and_execute(Some(0), "SELECT @P1 - 1", &[7])],
        ),
        calls(0, "execute 2", &[execute(2, &[8])]),
        calls(0, "execute 0, which is gone", &[execute(0, &[8])]),
        calls(0, "unprepare 1", &[unprepare(1)]),
        calls(0, "execute 1, which is gone", &[execute(1, &[5, 6])]),
        calls(0, "unprepare 1 again", &[unprepare(1)]),
        calls(0, "execute 2", &[execute(2, &[9])]),
        calls(0, "too few values", &[execute(2, &[])]),
        calls(0, "too many values", &[execute(2, &[1, 2])]),
        calls(0, "execute 2", &[execute(2, &[10])]),
        calls(0, "executesql", &[execute_sql("SELECT @P1", &[11])]),
    ]
}

fn by_name() -> Vec<Step> {
    let prepare = |name: &str| {
        let call = Call::name(name).int_out("", None).text("@P1 int");
        call.text("SELECT @P1 + 10").int(Some(1))
    };
    vec![
        calls(0, "sp_prepare", &[prepare("sp_prepare")]),
        calls(
            0,
            "sp_execute",
            &[Call::name("sp_execute").handle(0, 0).int(Some(1))],
        ),
        calls(0, "[sys].sp_prepare", &[prepare("[sys].sp_prepare")]),
        calls(
            0,
            "SP_EXECUTE",
            &[Call::name("SP_EXECUTE").handle(0, 1).int(Some(2))],
        ),
        calls(
            0,
            "sp_prepexec",
            &[Call::name("sp_prepexec")
                .int_out("", None)
                .text("@P1 int")
                .text("SELECT @P1 + 20")
                .int(Some(3))],
        ),
        calls(0, "execute", &[execute(2, &[4])]),
        calls(
            0,
            "sp_unprepare",
            &[Call::name("sp_unprepare").handle(0, 0)],
        ),
        calls(0, "execute", &[execute(0, &[4])]),
        calls(
            0,
            "sp_executesql",
            &[Call::name("sp_executesql")
                .text("SELECT @P1")
                .text("@P1 int")
                .int(Some(5))],
        ),
        calls(0, "quiet", &[Call::name("quiet").int(Some(5))]),
        calls(
            0,
            "inserts",
            &[Call::name("dbo.inserts").int(Some(5)).int_out("@id", None)],
        ),
        calls(
            0,
            "nothing of the kind",
            &[Call::name("nothing").int(Some(5))],
        ),
    ]
}

fn of_two() -> Vec<Step> {
    vec![
        calls(0, "prepare", &[prepare("SELECT @P1 + 1", 1)]),
        calls(1, "prepare", &[prepare("SELECT @P1 + 2", 1)]),
        calls(
            1,
            "prepare the first one's",
            &[prepare("SELECT @P1 + 1", 1)],
        ),
        calls(0, "execute", &[execute(0, &[10])]),
        calls(1, "execute", &[execute(0, &[10])]),
        calls(1, "execute", &[execute(1, &[10])]),
        calls(0, "unprepare", &[unprepare(0)]),
        calls(1, "execute", &[execute(1, &[20])]),
        calls(0, "execute", &[execute(0, &[20])]),
    ]
}

fn unknown() -> Vec<Step> {
    vec![
        calls(0, "execute", &[execute(5, &[1])]),
        calls(0, "unprepare", &[unprepare(5)]),
        calls(0, "prepare what fails", &[prepare("SELEKT 1", 0)]),
        calls(
            0,
            "prepare what is not there",
            &[prepare("SELECT n FROM nowhere", 0)],
        ),
        calls(0, "execute it", &[execute(0, &[])]),
        calls(
            0,
            "prepexec what fails",
            &[prepare_and_execute(None, "SELECT 1/0", &[])],
        ),
        calls(0, "execute it", &[execute(1, &[])]),
        sql("SELECT 1"),
    ]
}

fn several() -> Vec<Step> {
    vec![
        calls(
            0,
            "prepare two",
            &[prepare("SELECT @P1 + 1", 1), prepare("SELECT @P1 + 2", 1)],
        ),
        calls(0, "execute both", &[execute(0, &[1]), execute(1, &[1])]),
        calls(
            0,
            "one fails in the middle",
            &[execute(0, &[2]), execute(9, &[2]), execute(1, &[2])],
        ),
        calls(
            0,
            "prepexec and execute",
            &[
                prepare_and_execute(None, "SELECT @P1 + 3", &[3]),
                execute(0, &[3]),
                execute_sql("SELECT @P1", &[3]),
            ],
        ),
        calls(0, "unprepare both", &[unprepare(0), unprepare(1)]),
        calls(0, "execute both", &[execute(0, &[4]), execute(1, &[4])]),
        calls(
            0,
            "execute and unprepare",
            &[execute(2, &[5]), unprepare(2)],
        ),
        calls(0, "execute", &[execute(2, &[5])]),
    ]
}

fn leaving() -> Vec<Step> {
    vec![
        calls(0, "prepare", &[prepare("INSERT INTO #t1 VALUES (@P1)", 1)]),
        sql("CREATE TABLE #t1 (n int)"),
        calls(0, "execute", &[execute(0, &[1])]),
        sql("SELECT n FROM #t1"),
        calls(
            0,
            "a table that ends with its call",
            &[execute_sql(
                "CREATE TABLE #t2 (n int) SELECT OBJECT_ID('tempdb..#t2') * 0",
                &[],
            )],
        ),
        sql("SELECT n FROM #t2"),
        sql("DROP TABLE #t1"),
        calls(
            0,
            "a setting that ends with its call",
            &[execute_sql(
                "SET LOCK_TIMEOUT 44 SELECT @@LOCK_TIMEOUT",
                &[],
            )],
        ),
        sql("SELECT @@LOCK_TIMEOUT"),
        calls(
            0,
            "prepare a context",
            &[prepare("SET CONTEXT_INFO 0x43", 0)],
        ),
        calls(0, "execute it", &[execute(1, &[])]),
        sql("SELECT CONTEXT_INFO()"),
        sql("SET CONTEXT_INFO NULL"),
        calls(0, "execute it", &[execute(1, &[])]),
        sql("SELECT CONTEXT_INFO()"),
    ]
}

fn contexts() -> Vec<Step> {
    vec![
        calls(0, "prepare", &[prepare("SELECT DB_NAME(), @@DATEFIRST", 0)]),
        calls(0, "execute", &[execute(0, &[])]),
        sql("SET DATEFIRST 2"),
        calls(0, "execute", &[execute(0, &[])]),
        sql("USE otherdb"),
        calls(
            0,
            "prepare again",
            &[prepare("SELECT DB_NAME(), @@DATEFIRST", 0)],
        ),
        calls(0, "execute", &[execute(1, &[])]),
        sql("USE appdb"),
        calls(1, "prepare", &[prepare("SELECT DB_NAME(), @@DATEFIRST", 0)]),
        calls(1, "execute", &[execute(0, &[])]),
        calls(1, "executesql", &[execute_sql("SELECT @@DATEFIRST", &[])]),
        sql("SET LOCK_TIMEOUT 3").bits(status::RESET),
        calls(0, "gone with the reset", &[execute(1, &[])]),
    ]
}

/// Two clients with 150 each: some are taken from the backends meanwhile.
fn many() -> Vec<Step> {
    let mut steps = Vec::new();
    for number in 0..110 {
        for who in 0..2 {
            let text = format!("SELECT @P1 + {}", number * 2 + who);
            let all = [prepare(&text, 1), execute(number, &[1])];
            let who = usize::from(who == 1);
            steps.push(calls(who, &text, &all[..1]));
            if number % 10 == 0 {
                steps.push(calls(who, &text, &all[1..]));
            }
        }
    }
    for number in (0..110).step_by(13) {
        steps.push(calls(0, "once more", &[execute(number, &[2])]));
        steps.push(calls(1, "once more", &[execute(number, &[2])]));
    }
    steps
}

fn in_transactions() -> Vec<Step> {
    vec![
        calls(
            0,
            "prepare",
            &[prepare("INSERT INTO shared VALUES (@P1)", 1)],
        ),
        request(0, "begin", &manager::begin(0)),
        calls(0, "execute", &[execute(0, &[1])]),
        calls(0, "prepare", &[prepare("SELECT COUNT(*) FROM shared", 0)]),
        calls(0, "execute", &[execute(1, &[])]),
        request(0, "rollback", &manager::rollback()),
        calls(0, "execute", &[execute(1, &[])]),
        calls(
            0,
            "begin in a call",
            &[execute_sql(
                "BEGIN TRAN INSERT INTO shared VALUES (@P1)",
                &[5],
            )],
        ),
        calls(0, "execute", &[execute(1, &[])]),
        sql("ROLLBACK"),
        calls(0, "execute", &[execute(1, &[])]),
    ]
}
