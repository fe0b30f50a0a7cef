//! Scripts about state that can't be carried: temporary tables, cursors, locks, contexts, roles.

use crate::requests::{close_cursor, fetch_cursor, open_cursor};
use crate::script::{calls, sql};
use crate::situations::{Script, alone, two};

/// Nothing of the kind is there, or what is.
const WHO: &str = "SELECT USER_NAME(), CONTEXT_INFO(), SESSION_CONTEXT(N'k')";

pub(crate) fn state() -> Vec<Script> {
    let mut all = tables();
    all.extend(cursors());
    all.extend(locks());
    all.extend(contexts());
    all
}

fn tables() -> Vec<Script> {
    vec![
        alone(
            "temporary tables",
            &[
                "CREATE TABLE #t1 (n int)",
                "INSERT INTO #t1 VALUES (1)",
                "SELECT n FROM #t1",
                "SELECT OBJECT_ID('tempdb..#t1') - OBJECT_ID('tempdb..#t1')",
                "DROP TABLE #t1",
                "SELECT n FROM #t1",
                "SELECT 7 AS n INTO #t2",
                "SELECT n FROM tempdb..#t2",
                "BEGIN TRAN CREATE TABLE #t3 (n int) ROLLBACK",
                "SELECT n FROM #t3",
                "DROP TABLE #t2",
                "SELECT 1",
                "SELECT n FROM #t2",
                "DROP TABLE #t2",
            ],
        ),
        alone(
            "temporary tables with underscores",
            &[
                "CREATE TABLE #a_b_ (n int)",
                "INSERT INTO #a_b_ VALUES (1)",
                "SELECT n FROM #a_b_",
                "CREATE TABLE [#with space] (n int)",
                "DROP TABLE #a_b_",
                "SELECT n FROM [#with space]",
                "DROP TABLE [#with space]",
                "SELECT n FROM [#with space]",
            ],
        ),
        two(
            "temporary tables of the same name",
            &[
                (0, "CREATE TABLE #t1 (n int)"),
                (1, "CREATE TABLE #t1 (v nvarchar(10))"),
                (0, "INSERT INTO #t1 VALUES (1)"),
                (1, "INSERT INTO #t1 VALUES ('x')"),
                (0, "SELECT * FROM #t1"),
                (1, "SELECT * FROM #t1"),
                (0, "DROP TABLE #t1"),
                (1, "SELECT * FROM #t1"),
                (0, "SELECT * FROM #t1"),
                (1, "DROP TABLE #t1"),
            ],
        ),
        two(
            "tables for everybody",
            &[
                (0, "CREATE TABLE ##g1 (n int)"),
                (0, "INSERT INTO ##g1 VALUES (1)"),
                (1, "SELECT n FROM ##g1"),
                (1, "INSERT INTO ##g1 VALUES (2)"),
                (0, "SELECT COUNT(*) FROM ##g1"),
                (0, "DROP TABLE ##g1"),
                (1, "SELECT n FROM ##g1"),
                (0, "EXEC makes"),
                (1, "SELECT n FROM ##made"),
                (0, "SELECT n FROM ##made"),
                (0, "DROP TABLE ##made"),
                (1, "SELECT n FROM ##made"),
            ],
        ),
        alone(
            "temporary procedures",
            &[
                "SELECT 1",
                "CREATE PROCEDURE #p AS SELECT 5",
                "EXEC #p",
                "SELECT 2",
                "EXEC #p",
                "DROP PROCEDURE #p",
                "EXEC #p",
            ],
        ),
    ]
}

fn cursors() -> Vec<Script> {
    vec![
        alone(
            "cursors of T-SQL",
            &[
                "DECLARE c1 CURSOR FOR SELECT n FROM (VALUES (1), (2), (3)) AS v (n)",
                "OPEN c1",
                "FETCH NEXT FROM c1",
                "FETCH NEXT FROM c1",
                "SELECT CURSOR_STATUS('global', 'c1')",
                "CLOSE c1",
                "FETCH NEXT FROM c1",
                "DEALLOCATE c1",
                "FETCH NEXT FROM c1",
                "SELECT 1",
                "DECLARE c2 CURSOR LOCAL FOR SELECT 1 AS n OPEN c2 FETCH NEXT FROM c2",
                "FETCH NEXT FROM c2",
                "DECLARE c3 SCROLL CURSOR FOR SELECT n FROM (VALUES (1), (2)) AS v (n) OPEN c3",
                "FETCH LAST FROM c3",
                "FETCH FIRST FROM c3",
                "DEALLOCATE c3",
                "SELECT 2",
            ],
        ),
        Script::new(
            "cursors of the API",
            vec![
                calls(
                    0,
                    "open",
                    &[open_cursor("SELECT n FROM (VALUES (1), (2), (3)) AS v (n)")],
                ),
                calls(0, "fetch 2", &[fetch_cursor(0, 2)]),
                sql("SELECT 1"),
                calls(0, "fetch 2", &[fetch_cursor(0, 2)]),
                calls(0, "close", &[close_cursor(0)]),
                calls(0, "fetch", &[fetch_cursor(0, 2)]),
                calls(0, "fetch of nothing", &[fetch_cursor(9, 2)]),
                sql("SELECT 2"),
                calls(
                    0,
                    "open what fails",
                    &[open_cursor("SELECT n FROM nowhere")],
                ),
                calls(
                    0,
                    "open two",
                    &[open_cursor("SELECT 1 AS a"), open_cursor("SELECT 2 AS b")],
                ),
                calls(0, "fetch both", &[fetch_cursor(1, 1), fetch_cursor(2, 1)]),
                calls(0, "close one", &[close_cursor(1)]),
                calls(0, "fetch the other", &[fetch_cursor(2, 1)]),
                calls(0, "close the other", &[close_cursor(2)]),
                sql("SELECT 3"),
            ],
        ),
    ]
}

fn locks() -> Vec<Script> {
    const GET: &str =
        "DECLARE @r int EXEC @r = sp_getapplock 'l1', 'Exclusive', 'Session', 0 SELECT @r";
    const MODE: &str = "SELECT APPLOCK_MODE('public', 'l1', 'Session')";
    const RELEASE: &str = "EXEC sp_releaseapplock 'l1', 'Session'";
    vec![
        two(
            "locks of the session",
            &[
                (0, GET),
                (1, GET),
                (0, MODE),
                (1, MODE),
                (0, RELEASE),
                (0, MODE),
                (1, GET),
                (0, GET),
                (1, RELEASE),
                (0, RELEASE),
                (0, "SELECT 1"),
                (0, MODE),
            ],
        ),
        two(
            "locks of the transaction",
            &[
                (
                    0,
                    "BEGIN TRAN EXEC sp_getapplock 'l1', 'Exclusive' \
                     SELECT APPLOCK_MODE('public', 'l1', 'Transaction')",
                ),
                (1, GET),
                (0, "COMMIT"),
                (1, GET),
                (1, RELEASE),
                (0, "EXEC sp_getapplock 'l1', 'Exclusive'"),
                (0, "SELECT 1"),
            ],
        ),
        two(
            "a lock that a procedure takes",
            &[
                (0, "EXEC locks"),
                (1, GET),
                (0, MODE),
                (0, RELEASE),
                (1, GET),
                (1, RELEASE),
                (0, MODE),
            ],
        ),
    ]
}

fn contexts() -> Vec<Script> {
    vec![
        alone(
            "CONTEXT_INFO",
            &[
                "SET CONTEXT_INFO 0x414243",
                WHO,
                "SELECT 1",
                WHO,
                "SET CONTEXT_INFO NULL",
                WHO,
                "EXEC marks",
                WHO,
                "SELECT 1",
                WHO,
                "SET CONTEXT_INFO 0x",
                WHO,
            ],
        ),
        two(
            "sp_set_session_context",
            &[
                (0, "EXEC sp_set_session_context N'k', N'zero'"),
                (1, WHO),
                (0, WHO),
                (
                    1,
                    "EXEC sp_set_session_context @key = N'k', @value = N'one', @read_only = 1",
                ),
                (0, WHO),
                (1, WHO),
                (1, "EXEC sp_set_session_context N'k', N'two'"),
                (0, "EXEC sp_set_session_context N'k', NULL"),
                (0, WHO),
                (1, WHO),
                (0, "EXEC keys 'three'"),
                (0, WHO),
                (1, WHO),
            ],
        ),
        alone(
            "EXECUTE AS and REVERT",
            &[
                WHO,
                "EXECUTE AS USER = 'guest'",
                WHO,
                "SELECT 1",
                WHO,
                "REVERT",
                WHO,
                "EXECUTE AS USER = 'nobody'",
                WHO,
            ],
        ),
        alone(
            "an application role",
            &[
                "EXEC sp_setapprole 'approle', 'wrong'",
                WHO,
                "EXEC sp_setapprole 'approle', 'secret'",
                WHO,
                "SELECT 1",
                WHO,
            ],
        ),
        alone(
            "trace flags",
            &[
                "DBCC TRACEON (1204)",
                "SELECT 1",
                "DBCC TRACEOFF (1204)",
                "SELECT 1",
            ],
        ),
    ]
}
