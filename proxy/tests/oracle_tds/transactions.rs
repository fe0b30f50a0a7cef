//! Scripts about transactions: by text, by requests, by settings; and what asks for what the last
//! batch left.
#![expect(clippy::too_many_lines, reason = "scripts are long lists")]

use crate::requests::manager::{
    begin, commit, commit_and_begin, rollback, rollback_and_begin, rollback_to, save,
};
use crate::requests::status;
use crate::script::{manager, sql};
use crate::situations::{Script, alone, two};

const COUNT: &str = "SELECT @@TRANCOUNT, COUNT(*) FROM shared";

pub(crate) fn transactions() -> Vec<Script> {
    let mut all = by_text();
    all.extend(by_request());
    all.extend(recalls());
    all
}

fn by_text() -> Vec<Script> {
    vec![
        alone(
            "transactions by text",
            &[
                "BEGIN TRANSACTION",
                "INSERT INTO shared VALUES (1)",
                COUNT,
                "COMMIT TRANSACTION",
                COUNT,
                "BEGIN TRAN INSERT INTO shared VALUES (2) ROLLBACK",
                COUNT,
                "COMMIT",
                "ROLLBACK",
                "BEGIN TRAN",
                "BEGIN TRAN",
                COUNT,
                "COMMIT",
                COUNT,
                "INSERT INTO shared VALUES (3)",
                "ROLLBACK",
                COUNT,
                "BEGIN TRAN outer_one",
                "INSERT INTO shared VALUES (4)",
                "SAVE TRAN s1",
                "INSERT INTO shared VALUES (5)",
                "ROLLBACK TRAN s1",
                COUNT,
                "ROLLBACK TRAN nothing",
                "COMMIT TRAN outer_one",
                COUNT,
            ],
        )
        .stateless(),
        alone(
            "transactions over several batches at once",
            &[
                "COMMIT BEGIN TRAN",
                COUNT,
                "COMMIT BEGIN TRAN",
                COUNT,
                "INSERT INTO shared VALUES (1) COMMIT",
                "IF @@TRANCOUNT > 0 ROLLBACK BEGIN TRAN INSERT INTO shared VALUES (2)",
                COUNT,
                "WHILE @@TRANCOUNT > 0 COMMIT",
                COUNT,
            ],
        )
        .stateless(),
        alone(
            "errors in transactions",
            &[
                "BEGIN TRAN",
                "SELECT 1/0",
                COUNT,
                "SELECT n FROM nowhere",
                COUNT,
                "SELEKT 1",
                COUNT,
                "COMMIT",
                COUNT,
            ],
        )
        .stateless(),
        alone(
            "XACT_ABORT",
            &[
                "SET XACT_ABORT ON",
                "BEGIN TRAN",
                "INSERT INTO shared VALUES (1)",
                "SELECT 1/0",
                COUNT,
                "BEGIN TRAN BEGIN TRY INSERT INTO shared VALUES (2) SELECT 1/0 END TRY \
                 BEGIN CATCH SELECT XACT_STATE(), ERROR_NUMBER() END CATCH",
                COUNT,
                "SET XACT_ABORT OFF",
                "BEGIN TRAN BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT XACT_STATE() END CATCH",
                COUNT,
                "ROLLBACK",
            ],
        ),
        Script::new(
            "a deadlock's victim",
            vec![
                sql("BEGIN TRAN"),
                sql("INSERT INTO shared VALUES (1)"),
                sql("INSERT INTO shared VALUES (2)").fault(1205),
                sql(COUNT),
                sql("SELECT 1").fault(1205),
                sql(COUNT),
                sql("BEGIN TRAN INSERT INTO shared VALUES (3)").fault(1205),
                sql(COUNT),
            ],
        )
        .stateless(),
        alone(
            "implicit transactions",
            &[
                "SET IMPLICIT_TRANSACTIONS ON",
                "SELECT @@TRANCOUNT",
                "INSERT INTO shared VALUES (1)",
                "SELECT @@TRANCOUNT",
                "COMMIT",
                "SELECT n FROM shared",
                "ROLLBACK",
                "INSERT INTO shared VALUES (2)",
                "ROLLBACK",
                "SET IMPLICIT_TRANSACTIONS OFF",
                COUNT,
                "COMMIT",
            ],
        ),
        alone(
            "transactions of procedures",
            &[
                "EXEC opens",
                COUNT,
                "EXEC closes",
                COUNT,
                "BEGIN TRAN EXEC opens COMMIT",
                COUNT,
                "ROLLBACK",
                COUNT,
            ],
        ),
        two(
            "two clients' transactions",
            &[
                (0, "BEGIN TRAN INSERT INTO shared VALUES (1)"),
                (1, "SELECT COUNT(*) FROM shared"),
                (0, "COMMIT"),
                (1, "BEGIN TRAN"),
                (1, "SELECT COUNT(*) FROM shared"),
                (0, "INSERT INTO shared VALUES (2)"),
                (1, "SELECT COUNT(*) FROM shared"),
                (1, "COMMIT"),
            ],
        )
        .stateless(),
    ]
}

fn by_request() -> Vec<Script> {
    vec![
        Script::new(
            "transactions by request",
            vec![
                manager(0, "begin", &begin(0)),
                sql("INSERT INTO shared VALUES (1)"),
                sql(COUNT),
                manager(0, "commit", &commit()),
                sql(COUNT),
                manager(0, "begin", &begin(0)),
                sql("INSERT INTO shared VALUES (2)"),
                manager(0, "save", &save("s1")),
                sql("INSERT INTO shared VALUES (3)"),
                manager(0, "rollback to", &rollback_to("s1")),
                sql(COUNT),
                manager(0, "rollback", &rollback()),
                sql(COUNT),
                manager(0, "commit without one", &commit()),
                manager(0, "rollback without one", &rollback()),
                sql(COUNT),
                manager(0, "begin", &begin(0)),
                sql("INSERT INTO shared VALUES (4)"),
                manager(0, "commit and begin", &commit_and_begin()),
                sql("INSERT INTO shared VALUES (5)"),
                manager(0, "rollback and begin", &rollback_and_begin()),
                sql(COUNT),
                sql("COMMIT"),
                sql(COUNT),
            ],
        )
        .stateless(),
        Script::new(
            "transactions by request and by text",
            vec![
                manager(0, "begin", &begin(0)),
                sql("BEGIN TRAN"),
                sql(COUNT),
                sql("COMMIT"),
                sql(COUNT),
                sql("ROLLBACK"),
                sql(COUNT),
                sql("BEGIN TRAN"),
                sql("INSERT INTO shared VALUES (1)"),
                sql("COMMIT"),
                manager(0, "begin", &begin(0)),
                sql("INSERT INTO shared VALUES (1)").fault(1205),
                sql(COUNT),
                manager(0, "commit", &commit()),
            ],
        )
        .stateless(),
        Script::new(
            "several transactions, begun and ended in other terms",
            vec![
                sql("BEGIN TRAN BEGIN TRAN"),
                manager(0, "commit", &commit()),
                sql(COUNT),
                sql("COMMIT"),
                manager(0, "begin", &begin(0)),
                sql("COMMIT"),
                sql(COUNT),
                manager(0, "begin", &begin(0)),
                sql("SELECT n FROM shared"),
                manager(0, "begin", &begin(0)),
                sql("COMMIT"),
                sql(COUNT),
                sql("INSERT INTO shared VALUES (1)"),
                sql("ROLLBACK"),
                sql(COUNT),
                sql("BEGIN TRAN BEGIN TRAN BEGIN TRAN"),
                sql("COMMIT"),
                sql("COMMIT"),
            ],
        ),
        Script::new(
            "a reset that leaves a procedure's transaction, which nobody ends",
            vec![
                sql("EXEC opens"),
                sql(COUNT),
                sql("SELECT n FROM shared").bits(status::RESET_KEEPING_TRANSACTION),
                sql(COUNT),
            ],
        ),
        Script::new(
            "isolation levels by request",
            vec![
                sql("SET LOCK_TIMEOUT 321"),
                manager(0, "begin snapshot", &begin(5)),
                sql("SELECT n FROM shared"),
                manager(0, "commit", &commit()),
                sql(
                    "SELECT transaction_isolation_level FROM sys.dm_exec_sessions \
                     WHERE session_id = @@SPID",
                ),
                sql("SELECT @@LOCK_TIMEOUT"),
                sql(
                    "SELECT transaction_isolation_level FROM sys.dm_exec_sessions \
                     WHERE session_id = @@SPID",
                ),
                manager(0, "begin read committed", &begin(2)),
                manager(0, "commit", &commit()),
                sql(
                    "SELECT transaction_isolation_level FROM sys.dm_exec_sessions \
                     WHERE session_id = @@SPID",
                ),
            ],
        ),
    ]
}

/// Answered as by a server, or refused; never with another's value.
fn recalls() -> Vec<Script> {
    vec![
        alone(
            "what the last batch left",
            &[
                "INSERT INTO counted (n) VALUES (1) SELECT @@IDENTITY, SCOPE_IDENTITY(), @@ROWCOUNT",
                "SELECT @@IDENTITY",
                "INSERT INTO counted (n) VALUES (2)",
                "SELECT @@IDENTITY",
                "SELECT @@IDENTITY",
                "UPDATE counted SET n = 5",
                "SELECT @@ROWCOUNT",
                "SELECT n FROM counted",
                "SELECT ROWCOUNT_BIG()",
                "SELECT 1/0",
                "SELECT @@ERROR",
                "BEGIN TRAN",
                "INSERT INTO counted (n) VALUES (3)",
                "SELECT @@IDENTITY, @@ROWCOUNT",
                "COMMIT",
                "DECLARE @id int EXEC inserts 9, @id OUTPUT SELECT @id",
                "SELECT @@IDENTITY",
            ],
        ),
        two(
            "what two clients' last batches left",
            &[
                (0, "INSERT INTO counted (n) VALUES (1)"),
                (1, "INSERT INTO counted (n) VALUES (2)"),
                (0, "SELECT @@IDENTITY"),
                (1, "SELECT @@IDENTITY"),
                (1, "INSERT INTO counted (n) VALUES (3)"),
                (0, "SELECT @@IDENTITY"),
                (1, "SELECT @@IDENTITY"),
                (0, "SELECT n FROM counted WHERE id = @@IDENTITY"),
            ],
        ),
    ]
}
