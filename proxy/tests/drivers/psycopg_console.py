"""psycopg 3 on the console. Prints OK, or fails with what differed.

Connection parameters come from libpq's PG* variables.
"""

import psycopg
from psycopg.rows import dict_row


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def refused(connection, command, code):
    try:
        connection.execute(command)
    except psycopg.Error as error:
        expect(f"the code of {command}", error.sqlstate, code)
    else:
        raise AssertionError(f"{command} succeeded")


def main():
    with psycopg.connect("", autocommit=True, row_factory=dict_row) as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                pools = cursor.execute("SHOW POOLS").fetchall()
                expect("databases", [pool["database"] for pool in pools], ["main"])
                expect("a number", pools[0]["cl_waiting"], 0)
                totals = cursor.execute("SHOW STATS_TOTALS").fetchall()
                expect("a large number", type(totals[0]["bytes_sent"]), int)
        # Prepared on the server.
        for _ in range(10):
            row = connection.execute("SHOW VERSION", prepare=True).fetchone()
            expect("a version", row["version"].startswith("entrapool "), True)
        # A client cursor speaks the simple protocol, with several commands at a time.
        cursor = psycopg.ClientCursor(connection)
        cursor.execute("PAUSE; SHOW STATE; RESUME")
        expect("the first command", cursor.statusmessage, "PAUSE")
        cursor.nextset()
        expect("the second command", len(cursor.fetchall()), 3)
        cursor.nextset()
        expect("the third command", cursor.statusmessage, "RESUME")
        # In a pipeline, an error ends what is up to the next Sync.
        with connection.pipeline() as pipeline:
            lists = connection.execute("SHOW LISTS")
            pipeline.sync()
            expect("a list", lists.fetchone()["list"], "databases")
        refused(connection, "SHOW BOATS", "42601")
        refused(connection, "RESUME", "55000")
        try:
            connection.execute("PAUSE %s", ("main",))
        except psycopg.Error as error:
            expect("a parameter", error.sqlstate, "42601")
        else:
            raise AssertionError("a parameter was taken")
        expect("it goes on", len(connection.execute("SHOW STATE").fetchall()), 3)
    with psycopg.connect("") as connection:
        # Without autocommit it begins a transaction.
        refused(connection, "SHOW STATS", "0A000")
    print("OK")


main()
