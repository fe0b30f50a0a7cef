"""What the Python programs share: where the server is, and how they say what differs."""

import os
import threading

MODE = os.environ["POOL_MODE"]
RUN = os.environ["RUN"]
# A second program, for company: it only reads, since the test server has one writer at a time.
IS_COMPANY = "COMPANY" in os.environ
PLACE = {
    "host": os.environ["SQL_HOST"],
    "port": int(os.environ["SQL_PORT"]),
    "user": os.environ["SQL_USER"],
    "password": os.environ["SQL_PASSWORD"],
    "database": os.environ["SQL_DATABASE"],
}
# Of a kilobyte each.
LARGE_ROWS = int(os.environ["LARGE_MB"]) * 1000
# So many rows of digits and a number each; `{}` is the driver's mark of a parameter.
DIGITS = "(values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
LARGE = (
    "select top (cast({} as int)) 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n as n,"
    " replicate('x', 1000) as x"
    f" from {DIGITS} a (n), {DIGITS} b (n), {DIGITS} c (n), {DIGITS} d (n), {DIGITS} e (n)"
    " order by 1"
)
CLIENTS = 6


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def fails(what, kind, action):
    """The error that it fails with."""
    try:
        found = action()
    except kind as problem:
        return problem
    raise AssertionError(f"{what} went well: {found!r}")


def run_all(steps, *arguments):
    for step in steps:
        step(*arguments)
        print(f"{step.__name__}: as expected")


def crowd(visit):
    """Several connections at work at a time."""
    problems = []

    def work(number):
        try:
            visit(number)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    print(f"crowd: {CLIENTS} at a time")


def run(everything, visit):
    """All that a program does, or what it does for company."""
    if IS_COMPANY:
        for _ in range(4):
            crowd(visit)
    else:
        everything()
        crowd(visit)
    print("OK")
