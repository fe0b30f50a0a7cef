"""pymssql (FreeTDS's DB-Library) through the sidecar: any user, no matter which password.
Prints what it did and OK, or fails with what differed.

SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
expected; RUN is part of names that two runs must not share.
"""

import datetime
import decimal
import uuid

import pymssql

from scene import LARGE, LARGE_ROWS, MODE, PLACE, RUN, expect, fails, run, run_all

TABLE = f"pymssql_account_{RUN}"


def connect(**options):
    return pymssql.connect(
        server=PLACE["host"],
        port=str(PLACE["port"]),
        user=PLACE["user"],
        password=PLACE["password"],
        database=PLACE["database"],
        **options,
    )


def one(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


def types(connection):
    values = (
        -2147483648,
        9007199254740993,
        decimal.Decimal("-12345.6789"),
        1.5,
        "Grüße, Привет, 日本",
        datetime.datetime(2024, 2, 29, 13, 14, 15, 120000),
        datetime.date(2024, 2, 29),
        b"\x00\x01\xff",
        True,
        None,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"create table {TABLE}_types (i int, b bigint, d decimal(19,4), f float, n nvarchar(50),"
            " t datetime, y date, v varbinary(20), x bit, z int null)"
        )
        cursor.execute(
            f"insert into {TABLE}_types values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", values
        )
        cursor.execute(f"select * from {TABLE}_types")
        expect("values of many types", cursor.fetchone(), values)
        cursor.execute("select cast(%s as uniqueidentifier)", (str(uuid.UUID(int=7)),))
        expect("a GUID", cursor.fetchone(), (uuid.UUID(int=7),))
        cursor.execute("select cast(12.34 as money), cast('2024-01-02 03:04:05' as datetime2(0))")
        expect(
            "money and datetime2",
            cursor.fetchone(),
            (decimal.Decimal("12.3400"), datetime.datetime(2024, 1, 2, 3, 4, 5)),
        )
    connection.commit()


def transactions(connection):
    with connection.cursor() as cursor:
        cursor.execute(f"create table {TABLE} (id int primary key, balance int)")
        cursor.executemany(f"insert into {TABLE} values (%d, %d)", [(1, 10), (2, 20)])
        connection.commit()
        cursor.execute(f"update {TABLE} set balance = 0")
        connection.rollback()
        cursor.execute(f"select balance from {TABLE} order by id")
        expect("balances after a rollback", cursor.fetchall(), [(10,), (20,)])
        cursor.execute(f"save transaction here; update {TABLE} set balance = 5")
        cursor.execute("rollback transaction here")
        cursor.execute(f"update {TABLE} set balance = 11 where id = 1")
        connection.commit()
        cursor.execute(f"select balance from {TABLE} order by id")
        expect("balances after a savepoint", cursor.fetchall(), [(11,), (20,)])
        connection.commit()


def errors(connection):
    def duplicate():
        with connection.cursor() as cursor:
            cursor.execute(f"insert into {TABLE} values (1, 1)")

    problem = fails("a second row of a key", pymssql.IntegrityError, duplicate)
    expect("its number", problem.args[0], 2627)
    connection.rollback()
    problem = fails(
        "a table that is not there",
        pymssql.ProgrammingError,
        lambda: one(connection, "select * from nowhere_at_all"),
    )
    expect("its number", problem.args[0], 208)
    connection.rollback()
    expect("an answer after errors", one(connection, "select 5"), (5,))
    connection.commit()


def results(connection):
    with connection.cursor() as cursor:
        cursor.execute("select 1; select 'two', 2; select 3 where 1 = 0")
        expect("a first result", cursor.fetchall(), [(1,)])
        expect("there is a second", cursor.nextset(), True)
        expect("a second result", cursor.fetchall(), [("two", 2)])
        expect("there is a third", cursor.nextset(), True)
        expect("a third result", cursor.fetchall(), [])
        cursor.execute(f"update {TABLE} set balance = balance")
        expect("rows of an update", cursor.rowcount, 2)
    with connection.cursor(as_dict=True) as cursor:
        cursor.execute("select 7 as seven, %s as word", ("deux",))
        expect("a row with names", cursor.fetchone(), {"seven": 7, "word": "deux"})
    connection.commit()


def procedures(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            f"create procedure {TABLE}_add @a int, @b int, @sum int output as\n"
            "begin set @sum = @a + @b; return 3 end"
        )
        connection.commit()
        given = cursor.callproc(f"{TABLE}_add", (4, 5, pymssql.output(int)))
        expect("an output parameter", given, (4, 5, 9))
        cursor.execute(f"create procedure {TABLE}_rows @a int as select @a as a")
        cursor.callproc(f"{TABLE}_rows", (7,))
        expect("rows of a procedure", cursor.fetchall(), [(7,)])
    connection.commit()


def bulk(connection):
    with connection.cursor() as cursor:
        cursor.execute(f"create table {TABLE}_bulk (id int, name nvarchar(40) null)")
    connection.commit()
    rows = [(number, None if number % 7 == 0 else f"row {number}") for number in range(2000)]
    connection.bulk_copy(f"{TABLE}_bulk", rows)
    expect(
        "rows of a bulk copy",
        one(connection, f"select count(*), sum(id), count(name) from {TABLE}_bulk"),
        (2000, sum(range(2000)), sum(1 for _, name in rows if name)),
    )
    connection.commit()


def large(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            LARGE.format("%d"),
            (LARGE_ROWS,),
        )
        rows = length = 0
        for number, text in cursor:
            rows += 1
            length += len(text)
            if number != rows:
                raise AssertionError(f"row {rows} says {number}")
    expect("a large result", (rows, length), (LARGE_ROWS, LARGE_ROWS * 1000))
    connection.commit()


def timeout():
    with connect(timeout=1, autocommit=True) as connection:
        problem = fails(
            "a statement that takes too long",
            pymssql.OperationalError,
            lambda: one(connection, "waitfor delay '00:00:30'"),
        )
        expect("it was a time-out", "timed out" in str(problem).lower(), True)
    with connect(autocommit=True) as connection:
        expect("an answer after a time-out", one(connection, "select 6"), (6,))


def state():
    """What a session has, in the middle of what others do."""
    with connect(autocommit=True) as mine, connect(autocommit=True) as other:
        with mine.cursor() as cursor:
            cursor.execute("create table #mine (n int); insert into #mine values (5)")
            cursor.execute("set datefirst 3")
        fails(
            "somebody else's temporary table",
            pymssql.ProgrammingError,
            lambda: one(other, "select n from #mine"),
        )
        expect("a temporary table", one(mine, "select n from #mine"), (5,))
        expect("a setting", one(mine, "select @@datefirst"), (3,))
        expect("another session's setting", one(other, "select @@datefirst"), (7,))
        with mine.cursor() as cursor:
            cursor.execute("drop table #mine")
        expect("a setting after that", one(mine, "select @@datefirst"), (3,))


def encrypted():
    """`encryption=require`: the whole connection in TLS, with a certificate that nobody signed."""
    with connect(encryption="require", autocommit=True) as connection:
        expect("an answer in TLS", one(connection, "select %s", ("tls",)), ("tls",))


def visit(number):
    with connect() as connection:
        for step in range(20):
            row = one(connection, "select %d + %d", (number, step))
            expect("an answer in a crowd", row, (number + step,))
            connection.commit()


def main():
    with connect() as connection:
        run_all([types, transactions, errors, results, procedures, bulk, large], connection)
    run_all([timeout, encrypted])
    if MODE != "transaction":
        run_all([state])


run(main, visit)
