"""What some tools send that can't be installed here, as their sources say: pgAdmin's and Bytebase's
first queries, and the DISCARD ALL with which Npgsql resets a pooled connection. Prints OK, or fails
with what differed.

Connection parameters come from libpq's PG* variables; POOL_MODE says what may be expected.
"""

import os

import psycopg

MODE = os.environ["POOL_MODE"]
# Whether a client finds its session again in its next transaction.
KEEPS_STATE = MODE != "transaction"


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def value(connection, sql):
    return connection.execute(sql).fetchone()[0]


def others(count=4):
    """Other clients, so that backends change hands."""
    if MODE == "session":
        return
    for _ in range(count):
        with psycopg.connect(autocommit=True) as other:
            expect("another's row", value(other, "select 1"), 1)


def pgadmin():
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(
            "SET DateStyle=ISO; SET client_min_messages=notice; "
            "SELECT set_config('bytea_output','hex',false) FROM pg_settings"
            " WHERE name = 'bytea_output'; SET client_encoding='UTF8';"
        )
        role = value(connection, "select current_user")
        connection.execute(f"SET ROLE TO '{role}'")
        expect("a version", value(connection, "SELECT version()").split()[0], "PostgreSQL")
        others()
        expect("encoding", value(connection, "show client_encoding"), "UTF8")
        if KEEPS_STATE:
            connection.execute("SET bytea_output = 'escape'")
            others()
            expect("a setting", value(connection, "show bytea_output"), "escape")


def bytebase():
    options = "-c default_transaction_read_only=true"
    with psycopg.connect(autocommit=True, application_name="bytebase", options=options) as reader:
        expect("a name", value(reader, "show application_name"), "bytebase")
        others()
        expect("read only", value(reader, "show transaction_read_only"), "on")
        databases = reader.execute(
            "SELECT datname, pg_encoding_to_char(encoding), datcollate, "
            "pg_catalog.pg_get_userbyid(datdba) as db_owner FROM pg_database;"
        ).fetchall()
        if not any(row[0] == os.environ["PGDATABASE"] for row in databases):
            raise AssertionError(f"the database is not in {databases!r}")
    with psycopg.connect(autocommit=True, application_name="bytebase") as writer:
        owner = value(writer, "select pg_get_userbyid(datdba) from pg_database where datname = current_database()")
        with writer.transaction():
            writer.execute(f'SET LOCAL ROLE "{owner}"')
            writer.execute("create table migrated (id int)")
        expect("rows", value(writer, "select count(*) from migrated"), 0)
        writer.execute("create index concurrently on migrated (id)")
        writer.execute("drop table migrated")


def npgsql():
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("set statement_timeout = '11s'")
        connection.execute("create temp table leftover (id int)")
        connection.execute("DISCARD ALL")
        others()
        expect("a setting after DISCARD ALL", value(connection, "show statement_timeout"), "0")
        expect("tables after DISCARD ALL", value(connection, "select to_regclass('leftover')"), None)
    # What the connection string has set is in force again.
    with psycopg.connect(autocommit=True, options="-c statement_timeout=7s") as connection:
        connection.execute("set statement_timeout = '11s'")
        connection.execute("DISCARD ALL")
        others()
        wanted = "7s" if MODE == "auto" else "0"
        expect("a setting of the start", value(connection, "show statement_timeout"), wanted)


pgadmin()
bytebase()
if KEEPS_STATE:
    npgsql()
print("OK")
