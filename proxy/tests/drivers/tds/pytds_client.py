"""python-tds (TDS in Python, without FreeTDS) through the sidecar: any user, no matter which
password. Prints what it did and OK, or fails with what differed.

SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
expected; RUN is part of names that two runs must not share.
"""

import datetime
import decimal
import io
import uuid

import pytds

from scene import LARGE, LARGE_ROWS, MODE, PLACE, RUN, expect, fails, run, run_all

TABLE = f"pytds_account_{RUN}"


def connect(**options):
    settings = {"autocommit": False, "use_mars": False, **options}
    return pytds.connect(
        dsn=PLACE["host"],
        port=PLACE["port"],
        user=PLACE["user"],
        password=PLACE["password"],
        database=PLACE["database"],
        **settings,
    )


def one(connection, sql, parameters=()):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


def types(connection):
    zone = pytds.tz.FixedOffsetTimezone(90)
    values = (
        -2147483648,
        9007199254740993,
        decimal.Decimal("-12345.6789"),
        1.5,
        "Grüße, Привет, 日本 \U0001f600",
        datetime.datetime(2024, 2, 29, 13, 14, 15, 123456),
        datetime.date(2024, 2, 29),
        datetime.time(23, 59, 58, 5),
        datetime.datetime(2024, 2, 29, 13, 14, 15, tzinfo=zone),
        b"\x00\x01\xff",
        True,
        uuid.UUID(int=7),
        None,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"create table {TABLE}_types (i int, b bigint, d decimal(19,4), f float, n nvarchar(50),"
            " t datetime2(6), y date, h time(6), o datetimeoffset(0), v varbinary(20), x bit,"
            " g uniqueidentifier, z int null)"
        )
        marks = ", ".join(["%s"] * len(values))
        given = [pytds.Binary(value) if isinstance(value, bytes) else value for value in values]
        cursor.execute(f"insert into {TABLE}_types values ({marks})", given)
        cursor.execute(f"select * from {TABLE}_types")
        expect("values of many types", tuple(cursor.fetchone()), values)
        text = "long " * 10_000
        cursor.execute("select %s, cast(%s as varbinary(max))", (text, pytds.Binary(b"\x07" * 20_000)))
        expect("long values", tuple(cursor.fetchone()), (text, b"\x07" * 20_000))
        cursor.execute("select cast('12.34' as money), cast('a' as varchar(5)), cast('b' as nchar(3))")
        expect("money and text", tuple(cursor.fetchone()), (decimal.Decimal("12.34"), "a", "b  "))
    connection.commit()


def transactions(connection):
    with connection.cursor() as cursor:
        cursor.execute(f"create table {TABLE} (id int primary key, balance int)")
        cursor.executemany(f"insert into {TABLE} values (%s, %s)", [(1, 10), (2, 20)])
        connection.commit()
        cursor.execute(f"update {TABLE} set balance = 0")
        connection.rollback()
        cursor.execute(f"select balance from {TABLE} order by id")
        expect("balances after a rollback", cursor.fetchall(), [(10,), (20,)])
        cursor.execute("save transaction here")
        cursor.execute(f"update {TABLE} set balance = 5")
        cursor.execute("rollback transaction here")
        cursor.execute(f"update {TABLE} set balance = 11 where id = 1")
        connection.commit()
        cursor.execute(f"select balance from {TABLE} order by id")
        expect("balances after a savepoint", cursor.fetchall(), [(11,), (20,)])
        cursor.execute("select @@trancount")
        expect("a transaction is open", cursor.fetchone(), (1,))
    connection.commit()


def errors(connection):
    problem = fails(
        "a second row of a key",
        pytds.IntegrityError,
        lambda: one(connection, f"insert into {TABLE} values (1, 1)"),
    )
    expect("its number", problem.number, 2627)
    connection.rollback()
    problem = fails(
        "a table that is not there",
        pytds.ProgrammingError,
        lambda: one(connection, "select * from nowhere_at_all"),
    )
    expect("its number", problem.number, 208)
    connection.rollback()
    problem = fails(
        "an error of the program's own",
        pytds.DatabaseError,
        lambda: one(connection, "throw 50123, 'of our own', 4"),
    )
    expect("number and state", (problem.number, problem.state), (50123, 4))
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
        cursor.execute("print 'hello'; select 1")
        printed = [problem.text for _, problem in cursor.messages]
        expect("what was printed", printed, ["hello"])
    connection.commit()


def procedures(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            f"create procedure {TABLE}_add @a int, @b int, @sum int output as\n"
            "begin set @sum = @a + @b; return 3 end"
        )
        connection.commit()
        given = cursor.callproc(f"{TABLE}_add", (4, 5, pytds.output(param_type="int")))
        expect("an output parameter", given, [4, 5, 9])
        expect("a return value", cursor.get_proc_return_status(), 3)
        cursor.execute(f"create procedure {TABLE}_rows @a int as select @a as a")
        cursor.callproc(f"{TABLE}_rows", (7,))
        expect("rows of a procedure", cursor.fetchall(), [(7,)])
    connection.commit()


def bulk(connection):
    with connection.cursor() as cursor:
        cursor.execute(f"create table {TABLE}_bulk (id int, name nvarchar(40) null)")
        lines = "".join(f"{number}\trow {number}\n" for number in range(2000))
        cursor.copy_to(io.StringIO(lines), f"{TABLE}_bulk", columns=("id", "name"))
        cursor.execute(f"select count(*), sum(id), max(name) from {TABLE}_bulk")
        expect("rows of a bulk copy", cursor.fetchone(), (2000, sum(range(2000)), "row 999"))
        rows = [(number, None if number % 2 else "even") for number in range(100)]
        columns = [
            pytds.Column("id", type=pytds.tds_types.IntType()),
            pytds.Column("name", type=pytds.tds_types.NVarCharType(40)),
        ]
        cursor.copy_to(data=rows, table_or_view=f"{TABLE}_bulk", columns=columns)
        cursor.execute(f"select count(*), count(name) from {TABLE}_bulk where id < 100")
        expect("rows of another", cursor.fetchone(), (200, 150))
    connection.commit()


def large(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            LARGE.format("%s"),
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
        fails(
            "a statement that takes too long",
            pytds.TimeoutError,
            lambda: one(connection, "waitfor delay '00:00:30'"),
        )
    with connect(autocommit=True) as connection:
        expect("an answer after a time-out", one(connection, "select 6"), (6,))


def state():
    """What a session has, in the middle of what others do."""
    with connect(autocommit=True) as mine, connect(autocommit=True) as other:
        with mine.cursor() as cursor:
            cursor.execute("create table #mine (n int)")
            cursor.execute("insert into #mine values (%s)", (5,))
            cursor.execute("set datefirst 3")
        problem = fails(
            "somebody else's temporary table",
            pytds.ProgrammingError,
            lambda: one(other, "select n from #mine"),
        )
        expect("its number", problem.number, 208)
        expect("a temporary table", one(mine, "select n from #mine"), (5,))
        expect("a setting", one(mine, "select @@datefirst"), (3,))
        expect("another session's setting", one(other, "select @@datefirst"), (7,))
        with mine.cursor() as cursor:
            cursor.execute("drop table #mine")
        expect("a setting after that", one(mine, "select @@datefirst"), (3,))


def pooled():
    """The driver's own pool: it resets a connection with sp_reset_connection."""
    for number in range(5):
        with connect(pooling=True, autocommit=True) as connection:
            expect("a pooled connection", one(connection, "select %s", (number,)), (number,))


def visit(number):
    with connect() as connection:
        for step in range(20):
            row = one(connection, "select %s + %s", (number, step))
            expect("an answer in a crowd", row, (number + step,))
            connection.commit()


def main():
    with connect() as connection:
        run_all([types, transactions, errors, results, procedures, bulk, large], connection)
    run_all([timeout, pooled])
    if MODE != "transaction":
        run_all([state])


run(main, visit)
