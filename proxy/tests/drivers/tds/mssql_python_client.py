"""mssql-python (Microsoft's driver for Python, on its own ODBC driver) through the sidecar: any
user, no matter which password. Prints what it did and OK, or fails with what differed.

SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
expected; RUN is part of names that two runs must not share.
"""

import datetime
import decimal
import uuid

import mssql_python

from scene import LARGE, LARGE_ROWS, MODE, PLACE, RUN, expect, fails, run, run_all

TABLE = f"mssqlpy_account_{RUN}"


def connect(encrypt="no", trust="no", autocommit=False):
    text = (
        f"Server=tcp:{PLACE['host']},{PLACE['port']};Database={PLACE['database']};"
        f"UID={PLACE['user']};PWD={PLACE['password']};"
        f"Encrypt={encrypt};TrustServerCertificate={trust}"
    )
    return mssql_python.connect(text, autocommit=autocommit)


def one(connection, sql, *parameters):
    row = connection.execute(sql, *parameters).fetchone()
    return tuple(row) if row is not None else None


def types(connection):
    values = (
        -2147483648,
        9007199254740993,
        decimal.Decimal("-12345.6789"),
        1.5,
        "Grüße, Привет, 日本 \U0001f600",
        datetime.datetime(2024, 2, 29, 13, 14, 15, 123456),
        datetime.date(2024, 2, 29),
        datetime.time(23, 59, 58),
        b"\x00\x01\xff",
        True,
        uuid.UUID(int=7),
        None,
    )
    connection.execute(
        f"create table {TABLE}_types (i int, b bigint, d decimal(19,4), f float, n nvarchar(50),"
        " t datetime2(6), y date, h time(0), v varbinary(20), x bit, g uniqueidentifier,"
        " z int null)"
    )
    marks = ", ".join("?" * len(values))
    connection.execute(f"insert into {TABLE}_types values ({marks})", *values)
    expect("values of many types", one(connection, f"select * from {TABLE}_types"), values)
    long = "long " * 10_000
    expect("a long text", one(connection, "select cast(? as nvarchar(max))", long), (long,))
    connection.commit()


def transactions(connection):
    connection.execute(f"create table {TABLE} (id int primary key, balance int)")
    connection.cursor().executemany(f"insert into {TABLE} values (?, ?)", [(1, 10), (2, 20)])
    connection.commit()
    connection.execute(f"update {TABLE} set balance = 0")
    connection.rollback()
    balances = f"select balance from {TABLE} order by id"
    rows = [tuple(row) for row in connection.execute(balances).fetchall()]
    expect("balances after a rollback", rows, [(10,), (20,)])
    connection.execute("save transaction here")
    connection.execute(f"update {TABLE} set balance = 5")
    connection.execute("rollback transaction here")
    connection.execute(f"update {TABLE} set balance = 11 where id = 1")
    connection.commit()
    rows = [tuple(row) for row in connection.execute(balances).fetchall()]
    expect("balances after a savepoint", rows, [(11,), (20,)])
    connection.commit()


def errors(connection):
    problem = fails(
        "a second row of a key",
        mssql_python.IntegrityError,
        lambda: connection.execute(f"insert into {TABLE} values (1, 1)"),
    )
    expect("it says what", "PRIMARY KEY" in str(problem), True)
    connection.rollback()
    problem = fails(
        "a table that is not there",
        mssql_python.ProgrammingError,
        lambda: connection.execute("select * from nowhere_at_all"),
    )
    expect("it says what", "Invalid object name" in str(problem), True)
    connection.rollback()
    expect("an answer after errors", one(connection, "select 5"), (5,))
    connection.commit()


def prepared(connection):
    cursor = connection.cursor()
    for number in range(30):
        cursor.execute("select ? + 1", number)
        expect("a prepared statement", cursor.fetchone()[0], number + 1)
    connection.commit()
    for number in range(10):
        cursor.execute("select ? * 2", number)
        expect("a statement in a transaction of its own", cursor.fetchone()[0], number * 2)
        connection.commit()


def results(connection):
    cursor = connection.execute("select 1; select 'two', 2")
    expect("a first result", [tuple(row) for row in cursor.fetchall()], [(1,)])
    expect("there is a second", cursor.nextset(), True)
    expect("a second result", [tuple(row) for row in cursor.fetchall()], [("two", 2)])
    connection.commit()


def batches(connection):
    connection.execute(f"create table {TABLE}_many (id int, name nvarchar(40) null)")
    rows = [(number, None if number % 7 == 0 else f"row {number}") for number in range(500)]
    connection.cursor().executemany(f"insert into {TABLE}_many values (?, ?)", rows)
    expect(
        "rows of executemany",
        one(connection, f"select count(*), sum(id), count(name) from {TABLE}_many"),
        (500, sum(range(500)), sum(1 for _, name in rows if name)),
    )
    connection.commit()


def large(connection):
    cursor = connection.execute(
        LARGE.format("?"),
        LARGE_ROWS,
    )
    rows = length = 0
    while block := cursor.fetchmany(1000):
        for number, word in block:
            rows += 1
            length += len(word)
            if number != rows:
                raise AssertionError(f"row {rows} says {number}")
    expect("a large result", (rows, length), (LARGE_ROWS, LARGE_ROWS * 1000))
    connection.commit()


def timeout():
    with connect(autocommit=True) as connection:
        connection.timeout = 1
        fails(
            "a statement that takes too long",
            mssql_python.OperationalError,
            lambda: connection.execute("waitfor delay '00:00:30'"),
        )
        connection.timeout = 0
        expect("an answer after a time-out", one(connection, "select 6"), (6,))


def encrypted():
    with connect(encrypt="yes", trust="yes", autocommit=True) as connection:
        expect("an answer in TLS", one(connection, "select ?", "tls"), ("tls",))


def pooled():
    """The driver keeps closed connections, and resets one when it is opened again."""
    for number in range(5):
        with connect(autocommit=True) as connection:
            connection.execute("set datefirst 3")
            expect("a setting", one(connection, "select @@datefirst"), (3,))
        with connect(autocommit=True) as connection:
            expect("a setting of before", one(connection, "select @@datefirst"), (7,))


def state():
    """What a session has, in the middle of what others do."""
    with connect(autocommit=True) as mine, connect(autocommit=True) as other:
        mine.execute("create table #mine (n int)")
        mine.execute("insert into #mine values (5)")
        mine.execute("set datefirst 3")
        fails(
            "somebody else's temporary table",
            mssql_python.ProgrammingError,
            lambda: other.execute("select n from #mine"),
        )
        expect("a temporary table", one(mine, "select n from #mine"), (5,))
        expect("a setting", one(mine, "select @@datefirst"), (3,))
        expect("another session's setting", one(other, "select @@datefirst"), (7,))
        mine.execute("drop table #mine")
        expect("a setting after that", one(mine, "select @@datefirst"), (3,))


def visit(number):
    with connect() as connection:
        for step in range(20):
            found = one(connection, "select ? + ?", number, step)
            expect("an answer in a crowd", found, (number + step,))
            connection.commit()


def main():
    with connect() as connection:
        run_all([types, transactions, errors, prepared, results, batches, large], connection)
    run_all([timeout, encrypted, pooled])
    if MODE != "transaction":
        run_all([state])


run(main, visit)
