//! Scripts about what is long, what is cut off, and what resets.

use std::time::Duration;

use crate::requests::{Call, bulk_rows, execute, execute_sql, manager, prepare, status};
use crate::script::{Step, attention, bulk, calls, manager as request, sql};
use crate::situations::Script;

pub(crate) fn streams() -> Vec<Script> {
    vec![
        Script::new("large requests and answers", large()).stateless(),
        Script::new("bulk loads", bulk_loads()),
        Script::new("attentions", attentions()).stateless(),
        Script::new("requests that are taken back", withdrawn()).stateless(),
        Script::new("the client's own resets", resets()),
        Script::new("errors in every place", errors()).stateless(),
    ]
}

const MANY: &str = "WITH d AS (SELECT n FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), \
     (9)) AS v (n)) SELECT a.n * 1000 + b.n * 100 + c.n * 10 + e.n AS n, REPLICATE(N'x', 40) AS x \
     FROM d AS a CROSS JOIN d AS b CROSS JOIN d AS c CROSS JOIN d AS e";

fn large() -> Vec<Step> {
    let text = "é".repeat(3000);
    let longer = "ü".repeat(70_000);
    vec![
        sql(MANY),
        sql(&format!("SELECT LEN(N'{text}')")),
        sql(&format!("SELECT N'{text}' /* {} */", "y".repeat(40_000))),
        calls(
            0,
            "a long value",
            &[Call::name("sp_executesql")
                .text("SELECT LEN(@v), @v")
                .text("@v nvarchar(max)")
                .named_text("@v", &longer)],
        ),
        calls(
            0,
            "a long statement",
            &[execute_sql(
                &format!("SELECT 5 /* {} */", "z".repeat(3000)),
                &[],
            )],
        ),
        calls(0, "prepare", &[prepare(MANY, 0)]),
        calls(0, "execute", &[execute(0, &[])]),
        sql("SELECT 1"),
        sql("SELECT REPLICATE(CAST(N'abc' AS nvarchar(max)), 30000)"),
    ]
}

fn bulk_loads() -> Vec<Step> {
    let rows: Vec<Option<i32>> = (0..3000).map(|n| (n % 7 != 0).then_some(n)).collect();
    vec![
        sql("INSERT BULK shared (n int)"),
        bulk(0, "three rows", bulk_rows(&[Some(1), None, Some(3)])),
        sql("SELECT COUNT(*), SUM(n) FROM shared"),
        sql("INSERT BULK nowhere (n int)"),
        sql("SELECT 1"),
        sql("BEGIN TRAN INSERT BULK shared (n int)"),
        bulk(0, "many rows", bulk_rows(&rows)),
        sql("SELECT COUNT(*), SUM(n) FROM shared"),
        sql("ROLLBACK"),
        sql("SELECT COUNT(*), SUM(n) FROM shared"),
        sql("INSERT BULK shared (n int)"),
        // Something else instead of the data.
        sql("SELECT 2"),
        sql("CREATE TABLE #t1 (n int)"),
        sql("INSERT BULK #t1 (n int)"),
        bulk(0, "two rows", bulk_rows(&[Some(4), Some(5)])),
        sql("SELECT SUM(n) FROM #t1"),
        sql("DROP TABLE #t1"),
    ]
}

fn attentions() -> Vec<Step> {
    let soon = Duration::from_millis(40);
    vec![
        attention(0),
        sql("SELECT 1"),
        attention(0),
        sql("WAITFOR DELAY '00:00:20'").attention(soon),
        sql("SELECT 2"),
        sql("SELECT 3 WAITFOR DELAY '00:00:20'").attention(soon),
        calls(0, "wait", &[execute_sql("WAITFOR DELAY '00:00:20'", &[])]).attention(soon),
        calls(0, "prepare", &[prepare("WAITFOR DELAY '00:00:20'", 0)]),
        calls(0, "execute", &[execute(0, &[])]).attention(soon),
        sql("BEGIN TRAN"),
        sql("INSERT INTO shared VALUES (1)"),
        sql("WAITFOR DELAY '00:00:20'").attention(soon),
        sql("SELECT @@TRANCOUNT, COUNT(*) FROM shared"),
        attention(0),
        sql("ROLLBACK"),
        sql("SELECT 4"),
    ]
}

fn withdrawn() -> Vec<Step> {
    let long = format!("SELECT 1 /* {} */", "w".repeat(10_000));
    let insert = format!("INSERT INTO shared VALUES (1) /* {} */", "w".repeat(10_000));
    let longest = format!("INSERT INTO shared VALUES (1) /* {} */", "w".repeat(40_000));
    vec![
        sql(&long).withdrawn(1),
        sql("SELECT 1"),
        sql(&insert).withdrawn(3),
        sql("SELECT COUNT(*) FROM shared"),
        sql(&longest).withdrawn(15),
        sql("SELECT COUNT(*) FROM shared"),
        calls(
            0,
            "a call",
            &[execute_sql("INSERT INTO shared VALUES (5)", &[]).text(&"v".repeat(3900))],
        )
        .withdrawn(1),
        sql("SELECT COUNT(*) FROM shared"),
        sql("BEGIN TRAN"),
        sql(&insert).withdrawn(2),
        sql("SELECT @@TRANCOUNT, COUNT(*) FROM shared"),
        sql("COMMIT"),
    ]
}

fn resets() -> Vec<Step> {
    const SHOW: &str = "SELECT @@LOCK_TIMEOUT, @@DATEFIRST, DB_NAME(), CONTEXT_INFO(), @@TRANCOUNT";
    vec![
        sql("SELECT 1").bits(status::RESET),
        sql("SET LOCK_TIMEOUT 5 SET DATEFIRST 2 USE otherdb"),
        sql(SHOW),
        sql(SHOW).bits(status::RESET),
        sql(SHOW),
        sql("SET LOCK_TIMEOUT 6").bits(status::RESET),
        sql(SHOW),
        sql("CREATE TABLE #t1 (n int)"),
        sql("SET CONTEXT_INFO 0x01"),
        sql(SHOW),
        calls(0, "prepare", &[prepare("SELECT 5", 0)]),
        calls(0, "execute behind a reset", &[execute(0, &[])]).bits(status::RESET),
        sql(SHOW),
        sql("SELECT n FROM #t1"),
        sql("BEGIN TRAN INSERT INTO shared VALUES (1)"),
        sql(SHOW).bits(status::RESET),
        sql("SELECT COUNT(*) FROM shared"),
        sql("SET DATEFIRST 4"),
        request(0, "begin", &manager::begin(0)),
        sql("INSERT INTO shared VALUES (2)"),
        sql(SHOW).bits(status::RESET_KEEPING_TRANSACTION),
        sql("SELECT COUNT(*) FROM shared"),
        request(0, "rollback", &manager::rollback()),
        sql(SHOW),
        request(0, "begin behind a reset", &manager::begin(0)).bits(status::RESET),
        sql(SHOW),
        sql("COMMIT"),
        calls(
            0,
            "sp_reset_connection",
            &[Call::name("sp_reset_connection")],
        ),
        sql(SHOW),
        sql("SET LOCK_TIMEOUT 8 SELECT 1").bits(status::RESET),
        sql(SHOW),
    ]
}

fn errors() -> Vec<Step> {
    vec![
        sql("SELEKT 1"),
        sql("SELECT 'open"),
        sql(""),
        sql("   "),
        sql("SELECT 1 SELECT 1/0 SELECT 2"),
        sql("SELECT 1 SELECT n FROM nowhere SELECT 2"),
        sql("RAISERROR('five', 16, 5) SELECT 3"),
        sql("THROW 51000, 'thrown', 3"),
        sql("PRINT 'printed'"),
        sql("BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT ERROR_MESSAGE() END CATCH"),
        sql("SELECT * FROM shared WHERE nothing = 1"),
        sql("CREATE TABLE shared (n int)"),
        sql("DECLARE @a int SELECT @b"),
        sql("EXEC nothing"),
        sql("EXEC quiet 1, 2, 3"),
        calls(0, "executesql", &[execute_sql("SELECT 1/@P1", &[0])]),
        calls(0, "executesql", &[execute_sql("SELEKT", &[])]),
        calls(
            0,
            "executesql",
            &[execute_sql("SELECT 1 SELECT 1/0 SELECT 2", &[])],
        ),
        sql("SELECT 1").fault(1222),
        sql("SELECT n FROM shared").fault(1222),
        sql("SELECT n FROM shared"),
        sql("INSERT INTO shared VALUES (1)").fault(40_197),
        sql("SELECT COUNT(*) FROM shared"),
    ]
}
