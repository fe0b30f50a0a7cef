"""FreeTDS's ODBC driver (Debian's tdsodbc) under pyodbc, through the sidecar: any user, no matter
which password. Prints what it did and OK, or fails with what differed.

SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
expected; RUN is part of names that two runs must not share.
"""

import glob

import pyodbc

import odbc
from scene import MODE, PLACE, expect, run, run_all

DRIVER = glob.glob("/usr/lib/*/odbc/libtdsodbc.so")[0]


def connect(autocommit=False, **settings):
    text = odbc.text(
        DRIVER, SERVER=PLACE["host"], PORT=PLACE["port"], TDS_Version="7.4", **settings
    )
    return pyodbc.connect(text, autocommit=autocommit)


STEPS = odbc.Steps("freetds", connect)


def in_rows(connection):
    STEPS.batches(connection, fast=False)


def encrypted():
    """`Encryption=require`: the whole connection in TLS, with a certificate that nobody signed."""
    with connect(autocommit=True, Encryption="require") as connection:
        expect("an answer in TLS", odbc.one(connection, "select ?", "tls"), ("tls",))


def main():
    with connect() as connection:
        run_all([STEPS.types, STEPS.transactions, STEPS.errors, STEPS.prepared], connection)
        run_all([STEPS.results, STEPS.procedures, in_rows, STEPS.large], connection)
    run_all([STEPS.timeout, encrypted])
    if MODE != "transaction":
        run_all([STEPS.state])


run(main, STEPS.visit)
