"""What pyodbc does with each of its drivers; they differ in the connection's text."""

import datetime
import decimal
import uuid

import pyodbc

from scene import LARGE, LARGE_ROWS, PLACE, RUN, expect, fails

# One backend per connection: unixODBC would keep closed connections open.
pyodbc.pooling = False


def text(driver, **settings):
    """A connection's text."""
    pairs = {"DRIVER": driver, **settings, "UID": PLACE["user"], "PWD": PLACE["password"]}
    return ";".join(f"{name}={value}" for name, value in {**pairs, "DATABASE": PLACE["database"]}.items())


def one(connection, sql, *parameters):
    row = connection.execute(sql, *parameters).fetchone()
    return tuple(row) if row is not None else None


class Steps:
    """Each step takes a connection that is not in autocommit."""

    def __init__(self, prefix, connect):
        self.table = f"{prefix}_account_{RUN}"
        self.connect = connect

    def types(self, connection):
        values = (
            -2147483648,
            9007199254740993,
            decimal.Decimal("-12345.6789"),
            1.5,
            "Grüße, Привет, 日本 \U0001f600",
            datetime.datetime(2024, 2, 29, 13, 14, 15),
            datetime.date(2024, 2, 29),
            b"\x00\x01\xff",
            True,
            uuid.UUID(int=7),
            None,
        )
        connection.execute(
            f"create table {self.table}_types (i int, b bigint, d decimal(19,4), f float,"
            " n nvarchar(50), t datetime2(6), y date, v varbinary(20), x bit, g uniqueidentifier,"
            " z int null)"
        )
        marks = ", ".join("?" * len(values))
        connection.execute(f"insert into {self.table}_types values ({marks})", values)
        row = list(one(connection, f"select * from {self.table}_types"))
        # As the driver gives them.
        row[9] = uuid.UUID(str(row[9]))
        expect("values of many types", tuple(row), values)
        expect(
            "money and text",
            one(connection, "select cast(12.34 as money), cast('a' as varchar(5)), cast('b' as nchar(3))"),
            (decimal.Decimal("12.3400"), "a", "b  "),
        )
        # How fine a parameter is, the driver asks of the server's catalogue of types.
        fine = one(connection, "select cast('2024-02-29 13:14:15.123456' as datetime2(6))")
        expect("microseconds", fine, (datetime.datetime(2024, 2, 29, 13, 14, 15, 123456),))
        long = "long " * 10_000
        expect("a long text", one(connection, "select cast(? as nvarchar(max))", long), (long,))
        connection.commit()

    def transactions(self, connection):
        table = self.table
        connection.execute(f"create table {table} (id int primary key, balance int)")
        cursor = connection.cursor()
        cursor.executemany(f"insert into {table} values (?, ?)", [(1, 10), (2, 20)])
        connection.commit()
        connection.execute(f"update {table} set balance = 0")
        connection.rollback()
        balances = f"select balance from {table} order by id"
        rows = [tuple(row) for row in connection.execute(balances)]
        expect("balances after a rollback", rows, [(10,), (20,)])
        connection.execute("save transaction here")
        connection.execute(f"update {table} set balance = 5")
        connection.execute("rollback transaction here")
        connection.execute(f"update {table} set balance = 11 where id = 1")
        connection.commit()
        rows = [tuple(row) for row in connection.execute(balances)]
        expect("balances after a savepoint", rows, [(11,), (20,)])
        expect("a transaction is open", one(connection, "select @@trancount"), (1,))
        connection.commit()

    def errors(self, connection):
        problem = fails(
            "a second row of a key",
            pyodbc.IntegrityError,
            lambda: connection.execute(f"insert into {self.table} values (1, 1)"),
        )
        expect("its number", "(2627)" in problem.args[1], True)
        connection.rollback()
        problem = fails(
            "a table that is not there",
            pyodbc.ProgrammingError,
            lambda: connection.execute("select * from nowhere_at_all"),
        )
        expect("its state and number", (problem.args[0], "(208)" in problem.args[1]), ("42S02", True))
        connection.rollback()
        expect("an answer after errors", one(connection, "select 5"), (5,))
        connection.commit()

    def prepared(self, connection):
        """A statement that is executed again is prepared once; a handle is given up for another."""
        cursor = connection.cursor()
        for number in range(30):
            cursor.execute("select ? + 1", number)
            expect("a prepared statement", cursor.fetchone()[0], number + 1)
        for number in range(30):
            cursor.execute(f"select ? + {number}", number)
            expect("one of many", cursor.fetchone()[0], 2 * number)
        connection.commit()
        # Across transactions, and so perhaps across backends.
        for number in range(10):
            cursor.execute("select ? * 2", number)
            expect("a statement in a transaction of its own", cursor.fetchone()[0], number * 2)
            connection.commit()

    def results(self, connection):
        cursor = connection.execute("select 1; select 'two', 2; select 3 where 1 = 0")
        expect("a first result", [tuple(row) for row in cursor], [(1,)])
        expect("there is a second", cursor.nextset(), True)
        expect("a second result", [tuple(row) for row in cursor], [("two", 2)])
        expect("there is a third", cursor.nextset(), True)
        expect("a third result", cursor.fetchall(), [])
        expect("there is no more", cursor.nextset(), False)
        cursor.execute(f"update {self.table} set balance = balance")
        expect("rows of an update", cursor.rowcount, 2)
        connection.commit()

    def procedures(self, connection):
        name = f"{self.table}_add"
        connection.execute(
            f"create procedure {name} @a int, @b int, @sum int output as\n"
            "begin set @sum = @a + @b; return 3 end"
        )
        connection.commit()
        found = one(
            connection,
            f"declare @r int, @s int; exec @r = {name} ?, ?, @s output; select @r, @s",
            4,
            5,
        )
        expect("a return value and an output", found, (3, 9))
        connection.execute(f"create procedure {self.table}_rows @a int as select @a as a")
        connection.commit()
        found = one(connection, f"{{call {self.table}_rows(?)}}", 7)
        expect("rows of a procedure", found, (7,))
        connection.commit()

    def batches(self, connection, fast):
        """executemany row by row, or in arrays."""
        suffix = "fast" if fast else "slow"
        connection.execute(f"create table {self.table}_{suffix} (id int, name nvarchar(40) null)")
        cursor = connection.cursor()
        cursor.fast_executemany = fast
        rows = [(number, None if number % 7 == 0 else f"row {number}") for number in range(300)]
        cursor.executemany(f"insert into {self.table}_{suffix} values (?, ?)", rows)
        expect(
            "rows of executemany",
            one(connection, f"select count(*), sum(id), count(name) from {self.table}_{suffix}"),
            (300, sum(range(300)), sum(1 for _, name in rows if name)),
        )
        connection.commit()

    def large(self, connection):
        cursor = connection.execute(
            LARGE.format("?"),
            LARGE_ROWS,
        )
        rows = length = 0
        for number, word in cursor:
            rows += 1
            length += len(word)
            if number != rows:
                raise AssertionError(f"row {rows} says {number}")
        expect("a large result", (rows, length), (LARGE_ROWS, LARGE_ROWS * 1000))
        connection.commit()

    def timeout(self):
        with self.connect(autocommit=True) as connection:
            connection.timeout = 1
            problem = fails(
                "a statement that takes too long",
                pyodbc.Error,
                lambda: connection.execute("waitfor delay '00:00:30'"),
            )
            expect("its state", problem.args[0], "HYT00")
            connection.timeout = 0
            expect("an answer after a time-out", one(connection, "select 6"), (6,))

    def state(self):
        """What a session has, in the middle of what others do."""
        with self.connect(autocommit=True) as mine, self.connect(autocommit=True) as other:
            mine.execute("create table #mine (n int)")
            mine.execute("insert into #mine values (5)")
            mine.execute("set datefirst 3")
            problem = fails(
                "somebody else's temporary table",
                pyodbc.ProgrammingError,
                lambda: other.execute("select n from #mine"),
            )
            expect("its number", "(208)" in problem.args[1], True)
            expect("a temporary table", one(mine, "select n from #mine"), (5,))
            expect("a setting", one(mine, "select @@datefirst"), (3,))
            expect("another session's setting", one(other, "select @@datefirst"), (7,))
            mine.execute("drop table #mine")
            expect("a setting after that", one(mine, "select @@datefirst"), (3,))

    def visit(self, number):
        with self.connect() as connection:
            for step in range(20):
                found = one(connection, "select ? + ?", number, step)
                expect("an answer in a crowd", found, (number + step,))
                connection.commit()
