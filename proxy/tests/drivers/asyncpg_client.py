"""asyncpg through the sidecar: any user, no password. Prints OK, or fails with what differed.

Connection parameters come from the PG* variables.
"""

import asyncio
import os

import asyncpg

MODE = os.environ["POOL_MODE"]
# As many connections as are served at a time with a pool of two: asyncpg keeps them open.
CLIENTS = 2 if MODE == "session" else 8


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


async def connect(**options):
    return await asyncpg.connect(password="", ssl=False, timeout=20, **options)


async def statements(connection):
    for number in range(20):
        expect("a cached statement", await connection.fetchval("select $1::int + 1", number), number + 1)
    statement = await connection.prepare("select $1::text || $2::text")
    expect("a prepared statement", await statement.fetchval("a", "b"), "ab")
    expect("its parameters", [p.name for p in statement.get_parameters()], ["text", "text"])
    for number in range(150):
        value = await connection.fetchval(f"select {number} + $1::int", 1)
        expect("one of many statements", value, number + 1)
    await connection.executemany("insert into apg_row values ($1, $2)", [(n, f"row {n}") for n in range(500)])
    expect("rows of executemany", await connection.fetchval("select count(*) from apg_row"), 500)
    expect("an array", await connection.fetchval("select $1::int[]", [1, 2, 3]), [1, 2, 3])


async def transactions(connection):
    try:
        async with connection.transaction():
            await connection.execute("delete from apg_row")
            await connection.execute("select 1 / 0")
    except asyncpg.DivisionByZeroError:
        pass
    else:
        raise AssertionError("a division by zero succeeded")
    async with connection.transaction():
        try:
            async with connection.transaction():
                await connection.execute("delete from apg_row")
                raise KeyError("back to the savepoint")
        except KeyError:
            pass
        await connection.execute("delete from apg_row where id >= 400")
    expect("rows after rollbacks", await connection.fetchval("select count(*) from apg_row"), 400)
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("select id from apg_row", prefetch=50):
            total += row["id"]
        expect("rows of a cursor", total, sum(range(400)))


async def copies(connection):
    records = [(n, "y" * 2000) for n in range(400, 3000)]
    said = await connection.copy_records_to_table("apg_row", records=records)
    expect("what a copy said", said, "COPY 2600")
    out = bytearray()

    async def take(data):
        out.extend(data)

    await connection.copy_from_query("select id from apg_row order by id", output=take)
    expect("rows copied out", out.decode().split(), [str(n) for n in range(3000)])


async def timeouts(connection):
    """A query that takes too long is cancelled; the connection goes on."""
    for _ in range(3):
        try:
            await connection.execute("select pg_sleep(60)", timeout=0.3)
        except asyncio.TimeoutError:
            pass
        else:
            raise AssertionError("a query was not cancelled")
        expect("a query after a time-out", await connection.fetchval("select 6"), 6)


async def crowd(**options):
    async def work(number):
        connection = await connect(**options)
        try:
            for step in range(30):
                async with connection.transaction():
                    value = await connection.fetchval("select $1::int * 1000 + $2::int", number, step)
                    expect("an answer in a crowd", value, number * 1000 + step)
        finally:
            await connection.close()

    await asyncio.gather(*(work(n) for n in range(CLIENTS)))


async def main():
    connection = await connect()
    await connection.execute("create table apg_row (id int primary key, body text)")
    await statements(connection)
    await transactions(connection)
    await copies(connection)
    await timeouts(connection)
    await connection.close()
    await crowd()
    await crowd(statement_cache_size=0)
    print("OK")


asyncio.run(main())
