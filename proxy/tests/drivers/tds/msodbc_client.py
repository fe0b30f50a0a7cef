"""Microsoft's ODBC driver 18 (from its Python package) under pyodbc, through the sidecar: any user,
no matter which password. Prints what it did and OK, or fails with what differed.

SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
expected; RUN is part of names that two runs must not share.
"""

import glob
import os
import platform

import mssql_python_odbc
import pyodbc

import odbc
from scene import MODE, PLACE, expect, fails, run, run_all

HOME = os.path.dirname(mssql_python_odbc.__file__)
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
DRIVER = glob.glob(f"{HOME}/libs/linux/debian_ubuntu/{MACHINE}/lib/libmsodbcsql-*.so*")[0]


def connect(encrypt="no", trust="no", autocommit=False, **settings):
    server = f"tcp:{PLACE['host']},{PLACE['port']}"
    text = odbc.text(
        DRIVER, SERVER=server, Encrypt=encrypt, TrustServerCertificate=trust, **settings
    )
    return pyodbc.connect(text, autocommit=autocommit, timeout=20)


STEPS = odbc.Steps("msodbc", connect)


def in_rows(connection):
    STEPS.batches(connection, fast=False)


def in_arrays(connection):
    STEPS.batches(connection, fast=True)


def encrypted():
    """`Encrypt=yes;TrustServerCertificate=yes`: all of it in TLS inside of packets."""
    with connect(encrypt="yes", trust="yes", autocommit=True) as connection:
        expect("an answer in TLS", odbc.one(connection, "select ?", "tls"), ("tls",))
        long = "x" * 100_000
        found = odbc.one(connection, "select len(cast(? as nvarchar(max)))", long)
        expect("a long text in TLS", found, (100_000,))
    problem = fails(
        "a certificate that nobody signed",
        pyodbc.Error,
        lambda: connect(encrypt="yes"),
    )
    expect("it says why", "certificate" in str(problem).lower(), True)


def strict():
    """TDS 8.0: TLS comes first, and the certificate is always checked."""
    os.environ["SSL_CERT_FILE"] = os.environ["SQL_CERTIFICATE"]
    with connect(
        encrypt="strict", HostNameInCertificate="localhost", autocommit=True
    ) as connection:
        expect("an answer in TDS 8.0", odbc.one(connection, "select ?", "tds8"), ("tds8",))


def with_mars():
    """MARS is declined, and this driver does not go on without it."""
    fails(
        "a connection with MARS",
        pyodbc.Error,
        lambda: connect(autocommit=True, MARS_Connection="yes"),
    )


def main():
    with connect() as connection:
        run_all([STEPS.types, STEPS.transactions, STEPS.errors, STEPS.prepared], connection)
        run_all([STEPS.results, STEPS.procedures, in_rows, in_arrays, STEPS.large], connection)
    run_all([STEPS.timeout, encrypted, with_mars])
    if "SQL_CERTIFICATE" in os.environ:
        run_all([strict])
    if MODE != "transaction":
        run_all([STEPS.state])


run(main, STEPS.visit)
