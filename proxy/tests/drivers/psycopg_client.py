"""psycopg 3 through the sidecar: any user, no password. Prints OK, or fails with what differed.

Connection parameters come from libpq's PG* variables; POOL_MODE says what may be expected.
"""

import os
import threading

import psycopg

MODE = os.environ["POOL_MODE"]


def connect(**options):
    return psycopg.connect("", **options)


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def transactions(connection):
    with connection.transaction():
        connection.execute("create table py_account (id int primary key, balance int)")
        connection.execute("insert into py_account values (1, 10), (2, 20)")
    try:
        with connection.transaction():
            connection.execute("update py_account set balance = 0")
            connection.execute("select 1 / 0")
    except psycopg.errors.DivisionByZero:
        pass
    else:
        raise AssertionError("a division by zero succeeded")
    rows = connection.execute("select balance from py_account order by id").fetchall()
    expect("balances after a rollback", rows, [(10,), (20,)])
    with connection.transaction():
        with connection.transaction() as inner:
            connection.execute("update py_account set balance = 99")
            raise psycopg.Rollback(inner)
        connection.execute("update py_account set balance = 11 where id = 1")
    rows = connection.execute("select balance from py_account order by id").fetchall()
    expect("balances after a savepoint", rows, [(11,), (20,)])


def prepared(connection):
    """Prepared from the fifth execution on, by default; at once when asked."""
    for number in range(20):
        row = connection.execute("select %s::int + 1", (number,)).fetchone()
        expect("a statement that becomes prepared", row, (number + 1,))
    for number in range(5):
        row = connection.execute("select %s::text || 'x'", (str(number),), prepare=True).fetchone()
        expect("a statement prepared at once", row, (f"{number}x",))
    # More statements than the driver keeps: it closes the oldest with DEALLOCATE or Close.
    connection.prepare_threshold = 0
    for number in range(150):
        row = connection.execute(f"select {number}, %s::int", (number,)).fetchone()
        expect("one of many prepared statements", row, (number, number))
    connection.prepare_threshold = 5


def pipeline(connection):
    with connection.pipeline() as pipe:
        cursors = [connection.execute("select %s::int * 2", (n,)) for n in range(300)]
        pipe.sync()
        expect("pipelined rows", [c.fetchone()[0] for c in cursors], [n * 2 for n in range(300)])
    try:
        with connection.pipeline():
            connection.execute("insert into py_account values (3, 30)")
            connection.execute("select 1 / 0")
            connection.execute("insert into py_account values (4, 40)")
    except psycopg.errors.DivisionByZero:
        pass
    else:
        raise AssertionError("an error in a pipeline went unseen")
    connection.rollback()
    count = connection.execute("select count(*) from py_account").fetchone()
    expect("rows after a failed pipeline", count, (2,))
    connection.commit()


def cursors(connection):
    with connection.transaction():
        with connection.cursor(name="numbers") as cursor:
            cursor.itersize = 100
            cursor.execute("select n from generate_series(1, 1050) n")
            expect("rows of a server-side cursor", sum(n for (n,) in cursor), 1050 * 1051 // 2)


def copies(connection):
    text = "x" * 3000
    with connection.transaction():
        connection.execute("create table py_copy (id int, body text)")
        with connection.cursor().copy("copy py_copy from stdin") as copy:
            for number in range(2000):
                copy.write_row((number, text))
    with connection.cursor().copy("copy py_copy to stdout") as copy:
        rows = sum(1 for _ in copy.rows())
    expect("rows copied out", rows, 2000)
    binary = b""
    with connection.cursor().copy("copy (select 7::int4) to stdout (format binary)") as copy:
        for block in copy:
            binary += bytes(block)
    expect("a binary copy's value", binary[25:29], b"\x00\x00\x00\x07")
    connection.commit()
    try:
        with connection.cursor().copy("copy py_copy from stdin") as copy:
            copy.write_row((1, "one"))
            raise KeyError("the program changes its mind")
    except KeyError:
        connection.rollback()
    count = connection.execute("select count(*) from py_copy").fetchone()
    expect("rows after a copy that was given up", count, (2000,))
    connection.commit()


def notifications():
    """Only where a client may keep its backend."""
    with connect(autocommit=True) as listener, connect(autocommit=True) as speaker:
        listener.execute("listen py_news")
        speaker.execute("notify py_news, 'hello'")
        news = [note.payload for note in listener.notifies(timeout=10, stop_after=1)]
        expect("notifications", news, ["hello"])


def state():
    """What a session has, in the middle of what others do."""
    with connect(autocommit=True) as mine, connect(autocommit=True) as other:
        mine.execute("set work_mem = '1234kB'")
        mine.execute("select set_config('app.name', 'mine', false)")
        mine.execute("create temp table py_temp as select 5 as n")
        mine.execute("select pg_advisory_lock(77)")
        other.execute("select 1")
        row = mine.execute(
            "select current_setting('work_mem'), current_setting('app.name'), n from py_temp"
        ).fetchone()
        expect("a session's state", row, ("1234kB", "mine", 5))
        row = other.execute("select current_setting('work_mem'), pg_try_advisory_lock(77)").fetchone()
        expect("another session's state", row, ("4MB", False))
        mine.execute("select pg_advisory_unlock(77)")
        mine.execute("drop table py_temp")
        expect("a setting after that", mine.execute("show work_mem").fetchone(), ("1234kB",))


def cancel(connection):
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    try:
        connection.execute("select pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        connection.rollback()
    else:
        raise AssertionError("a query was not cancelled")
    finally:
        timer.join()
    expect("a query after a cancelled one", connection.execute("select 5").fetchone(), (5,))
    connection.commit()


def crowd():
    """Eight connections at work at a time."""
    problems = []

    def work(number):
        try:
            with connect() as connection:
                for step in range(30):
                    with connection.transaction():
                        row = connection.execute("select %s::int + %s::int", (number, step))
                        expect("an answer in a crowd", row.fetchone(), (number + step,))
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def main():
    with connect() as connection:
        transactions(connection)
        prepared(connection)
        pipeline(connection)
        cursors(connection)
        copies(connection)
        cancel(connection)
    if MODE != "transaction":
        notifications()
        state()
    if MODE != "session":
        crowd()
    print("OK")


main()
