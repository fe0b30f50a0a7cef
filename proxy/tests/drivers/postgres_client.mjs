// Postgres.js (the npm package `postgres`) through the sidecar: any user, no password. Prints OK,
// or fails with what differed. Connection parameters come from the PG* variables.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

// `import` does not look into NODE_PATH.
const postgres = createRequire(import.meta.url)('postgres');

const MODE = process.env.POOL_MODE;
// In session mode, each open connection has one of two backends.
const CLIENTS = MODE === 'session' ? 2 : 8;
// Whether a client finds its session again in its next transaction.
const KEEPS_STATE = MODE !== 'transaction';

async function withPool(options, work) {
  const sql = postgres({ ssl: false, connect_timeout: 20, ...options });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

function numbers(count) {
  return Array.from({ length: count }, (_, n) => n);
}

async function templates(sql) {
  await sql`create table pgjs_row (id int primary key, body text, extra jsonb)`;
  const rows = numbers(500).map((id) => ({ id, body: `row ${id}` }));
  const inserted = await sql`insert into pgjs_row ${sql(rows, 'id', 'body')} returning id`;
  assert.deepEqual(inserted.map((row) => row.id), numbers(500));
  assert.equal(inserted.count, 500);
  assert.equal(inserted.command, 'INSERT');
  const column = sql('body');
  const some = sql`where id in ${sql([3, 1, 2])}`;
  const bodies = await sql`select ${column} from ${sql('pgjs_row')} ${some} order by id desc`.values();
  assert.deepEqual([...bodies], [['row 3'], ['row 2'], ['row 1']]);
  const change = { body: 'changed', extra: { a: [1, 'é', null] } };
  const changed = await sql`update pgjs_row set ${sql(change)} where id = 7 returning body, extra`;
  assert.deepEqual([...changed], [change]);
  const seen = [];
  await sql`select id from pgjs_row where id < 5 order by id`.forEach((row) => seen.push(row.id));
  assert.deepEqual(seen, numbers(5));
  const several = await sql`select 1 as a; select 'two' as b, null as c`.simple();
  assert.deepEqual(several.map((result) => [...result]), [[{ a: 1 }], [{ b: 'two', c: null }]]);
  const raw = await sql.unsafe('select $1::int + 1 as n', [41]);
  assert.deepEqual([...raw], [{ n: 42 }]);
  await assert.rejects(sql`select ${undefined}`, { code: 'UNDEFINED_VALUE' });
}

async function prepared(sql) {
  for (const n of numbers(20)) {
    assert.deepEqual([...await sql`select ${n}::int + 1 as n`], [{ n: n + 1 }]);
  }
  for (const n of numbers(150)) {
    const text = `select ${n} as n, $1::text as t`;
    assert.deepEqual([...await sql.unsafe(text, ['x'], { prepare: true })], [{ n, t: 'x' }]);
  }
  const described = await sql`select id, body from pgjs_row where id = ${1}`.describe();
  assert.deepEqual(described.types, [23]);
  assert.deepEqual(described.columns.map((column) => [column.name, column.type]), [['id', 23], ['body', 25]]);
}

async function types(sql) {
  const when = new Date('2024-02-29T12:34:56.789Z');
  const bytes = Buffer.from([0, 1, 254, 255]);
  const long = 'z'.repeat(300000);
  const [row] = await sql`
    select ${true}::bool as yes, ${null}::int as nothing, ${2 ** 31 - 1}::int4 as small,
      ${9007199254740993n}::int8 as big, ${'1.10'}::numeric as exact, ${0.1}::float8 as tenth,
      ${when}::timestamptz as instant, ${bytes}::bytea as bytes, ${long}::text as long,
      ${sql.json({ a: { b: [1, 2] } })}::jsonb as json, ${[1, 2, 3]}::int[] as list,
      ${sql.array([['a', 'b"'], ['c\\', '']])}::text[] as words, ${''} as empty`;
  assert.deepEqual(row, {
    yes: true,
    nothing: null,
    small: 2147483647,
    big: 9007199254740993n,
    exact: '1.10',
    tenth: 0.1,
    instant: when,
    bytes,
    long,
    json: { a: { b: [1, 2] } },
    list: [1, 2, 3],
    words: [['a', 'b"'], ['c\\', '']],
    empty: '',
  });
}

async function errors(sql) {
  await assert.rejects(sql`select 1 / ${0}::int`, { name: 'PostgresError', code: '22012' });
  await assert.rejects(sql`select missing from nowhere where id = ${1}`, { code: '42P01' });
  await assert.rejects(sql`select ${'no number'}::text::int`, { code: '22P02' });
  await assert.rejects(sql`select 1; select 1 / 0; select 3`.simple(), { code: '22012' });
  // Sent at once on one connection: each fails or not, whatever the others do.
  const several = numbers(60).map((n) => sql`select 60 / ${n % 5}::int as n`);
  const results = await Promise.allSettled(several);
  const found = results.map((result) => result.value?.[0].n ?? result.reason.code);
  assert.deepEqual(found, numbers(60).map((n) => (n % 5 === 0 ? '22012' : Math.trunc(60 / (n % 5)))));
}

async function transactions(sql) {
  const count = async () => (await sql`select count(*)::int as n from pgjs_row`)[0].n;
  const said = await sql.begin(async (inner) => {
    await inner`delete from pgjs_row where id >= 400`;
    await assert.rejects(
      inner.savepoint('point', async (point) => {
        await point`delete from pgjs_row`;
        await point`insert into pgjs_row (id) values (${1}), (${1})`;
      }),
      { code: '23505' },
    );
    const kept = await inner.savepoint(async (point) => {
      await point`delete from pgjs_row where id >= 300`;
      return point`select count(*)::int as n from pgjs_row`;
    });
    assert.equal(kept[0].n, 300);
    return 'said';
  });
  assert.equal(said, 'said');
  assert.equal(await count(), 300);
  await assert.rejects(
    sql.begin(async (inner) => {
      await inner`delete from pgjs_row`;
      throw new RangeError('the program changes its mind');
    }),
    RangeError,
  );
  // All sent before the first is answered.
  await assert.rejects(
    sql.begin((inner) => [inner`delete from pgjs_row`, inner`select 1 / 0`, inner`select 2`]),
    { code: '22012' },
  );
  assert.equal(await count(), 300);
  const level = await sql.begin('isolation level serializable read only', async (inner) => {
    const [{ transaction_isolation: found }] = await inner`show transaction_isolation`;
    await assert.rejects(inner.savepoint((point) => point`delete from pgjs_row`), { code: '25006' });
    return found;
  });
  assert.equal(level, 'serializable');
}

// Portals that are read in parts: between the parts, nothing ends the transaction.
async function cursors(sql) {
  const sizes = [];
  let sum = 0;
  for await (const rows of sql`select n from generate_series(1, ${1050}::int) n`.cursor(100)) {
    sizes.push(rows.length);
    sum += rows.reduce((total, row) => total + row.n, 0);
  }
  assert.deepEqual(sizes, [...Array(10).fill(100), 50]);
  assert.equal(sum, (1050 * 1051) / 2);
  // Left before their end.
  for await (const [row] of sql`select n from generate_series(1, 1000) n`.cursor()) {
    assert.ok(row.n <= 3);
    if (row.n === 3) break;
  }
  let parts = 0;
  await sql`select n from generate_series(1, 1000) n`.cursor(10, (rows) => {
    parts += 1;
    return rows[0].n > 50 ? sql.CLOSE : undefined;
  });
  assert.equal(parts, 6);
  await sql.begin(async (inner) => {
    for await (const [row] of inner`select id from pgjs_row where id < 3 order by id`.cursor()) {
      assert.equal(typeof row.id, 'number');
    }
    assert.equal((await inner`delete from pgjs_row where id < 3`).count, 3);
  });
  const broken = sql`select 1 / (5 - n) as n from generate_series(1, 10) n`.cursor(2);
  await assert.rejects(async () => {
    for await (const rows of broken) assert.equal(rows.length, 2);
  }, { code: '22012' });
  assert.equal((await sql`select count(*)::int as n from pgjs_row`)[0].n, 297);
}

async function copies(sql) {
  await sql`create table pgjs_copy (id int, body text)`;
  const body = 'x'.repeat(3000);
  const lines = numbers(2000).map((n) => `${n}\t${body}\n`);
  await pipeline(Readable.from(lines), await sql`copy pgjs_copy from stdin`.writable());
  const out = await sql`copy (select * from pgjs_copy) to stdout`.readable();
  // The server has to wait for a reader that is late.
  await sleep(100);
  let length = 0;
  // Not `for await`: after that, the driver leaves its socket paused.
  out.on('data', (chunk) => {
    length += chunk.length;
  });
  await once(out, 'end');
  assert.equal(length, lines.join('').length);
  const given = await sql`copy pgjs_copy from stdin`.writable();
  given.write('1\tone\n');
  given.on('error', () => {});
  given.destroy(new Error('the program changes its mind'));
  assert.equal((await sql`select count(*)::int as n from pgjs_copy`)[0].n, 2000);
  await sql.begin(async (inner) => {
    await pipeline(Readable.from(['7\tseven\n']), await inner`copy pgjs_copy from stdin`.writable());
    assert.equal((await inner`delete from pgjs_copy where id = 7`).count, 2);
  });
  assert.equal((await sql`select count(*)::int as n from pgjs_copy`)[0].n, 1999);
}

async function cancel(sql) {
  const slow = sql`select pg_sleep(60)`.execute();
  await sleep(300);
  slow.cancel();
  await assert.rejects(slow, { code: '57014' });
  // The driver does not say when its request has ended; until then, the server may signal again.
  await sleep(300);
  const [first, second] = [sql`select pg_sleep(0.2), 1 as n`, sql`select 2 as n`];
  assert.deepEqual((await Promise.all([first, second])).map(([row]) => row.n), [1, 2]);
}

// Sent when a connection is made, they hold for each of its transactions.
async function settings() {
  const connection = { application_name: 'pgjs', statement_timeout: 21000, TimeZone: 'Asia/Tokyo' };
  const asked = (sql) => sql`
    select current_setting('application_name') as application_name,
      current_setting('statement_timeout') as statement_timeout,
      '2024-02-29 22:30:00+00'::timestamptz::text as instant`;
  const wanted = { application_name: 'pgjs', statement_timeout: '21s', instant: '2024-03-01 07:30:00+09' };
  await withPool({ max: 1, connection }, async (sql) => {
    await withPool({ max: 1 }, async (other) => {
      for (const _ of numbers(5)) {
        const [[row], [elsewhere]] = await Promise.all([asked(sql), asked(other)]);
        assert.deepEqual(row, wanted);
        assert.equal(elsewhere.application_name, 'postgres.js');
        assert.notEqual(elsewhere.statement_timeout, '21s');
      }
    });
    assert.equal(sql.parameters.TimeZone, 'Asia/Tokyo');
  });
}

// A listener has a connection of its own.
async function notifications() {
  await withPool({ max: 1 }, async (sql) => {
    const news = [];
    const ready = [];
    const all = new Promise((resolve) => {
      const hear = (payload) => news.push(payload) === 40 && resolve();
      ready.push(sql.listen('pgjs_news', hear), sql.listen('pgjs_Other "news"', hear));
    });
    const [listener] = await Promise.all(ready);
    for (const n of numbers(20)) {
      await sql.notify('pgjs_news', `news ${n}`);
      await sql.begin((inner) => inner`select pg_notify(${'pgjs_Other "news"'}, ${`other ${n}`})`);
    }
    await Promise.race([all, sleep(10000, undefined, { ref: false })]);
    assert.deepEqual(news, numbers(20).flatMap((n) => [`news ${n}`, `other ${n}`]));
    await listener.unlisten();
    await sql.notify('pgjs_news', 'unheard');
    await sleep(100);
    assert.equal(news.length, 40);
  });
}

// One connection, taken out of the pool for its session; the others work beside it.
async function reserved() {
  await withPool({ max: CLIENTS }, async (sql) => {
    const own = await sql.reserve();
    await own`create temporary table pgjs_scratch as select n from generate_series(1, 9) n`;
    await own`set lock_timeout = '19s'`;
    const [{ locked }] = await own`select pg_try_advisory_lock(4711) as locked`;
    assert.equal(locked, true);
    const others = numbers(40).map((n) => sql`
      select ${n}::int as n, to_regclass('pgjs_scratch') as here, pg_try_advisory_xact_lock(4711) as locked`);
    const rows = (await Promise.all(others)).map(([row]) => row);
    assert.deepEqual(rows, numbers(40).map((n) => ({ n, here: null, locked: false })));
    assert.equal((await own`select sum(n)::int as sum from pgjs_scratch`)[0].sum, 45);
    assert.equal((await own`show lock_timeout`)[0].lock_timeout, '19s');
    assert.equal((await own`select pg_advisory_unlock(4711) as gone`)[0].gone, true);
    await own`drop table pgjs_scratch`;
    await own`reset lock_timeout`;
    own.release();
  });
}

async function crowd(options) {
  await withPool({ max: CLIENTS, ...options }, async (sql) => {
    const answers = await Promise.all(numbers(300).map((n) => sql`select ${n}::int as n`));
    assert.deepEqual(answers.map(([row]) => row.n), numbers(300));
    const sums = await Promise.all(numbers(40).map((n) => sql.begin(async (inner) => {
      const [{ n: half }] = await inner`select ${n}::int as n`;
      return (await inner`select ${half}::int + ${n}::int as n`)[0].n;
    })));
    assert.deepEqual(sums, numbers(40).map((n) => 2 * n));
    const mixed = numbers(60).map((n) => (n % 3 === 0 ? sql`select 1 / ${0}::int` : sql`select ${n}::int as n`));
    const results = await Promise.allSettled(mixed);
    const found = results.map((result) => result.value?.[0].n ?? result.reason.code);
    assert.deepEqual(found, numbers(60).map((n) => (n % 3 === 0 ? '22012' : n)));
  });
}

async function main() {
  await withPool({ max: 1, types: { bigint: postgres.BigInt } }, async (sql) => {
    await templates(sql);
    await prepared(sql);
    await types(sql);
    await errors(sql);
    await transactions(sql);
    await cursors(sql);
    await copies(sql);
    await cancel(sql);
  });
  await settings();
  if (KEEPS_STATE) {
    await notifications();
    await reserved();
  }
  await crowd({});
  await crowd({ prepare: false, max_pipeline: 1 });
  console.log('OK');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
