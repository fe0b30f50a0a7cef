// node-postgres through the sidecar: any user, no password. Prints OK, or fails with what
// differed. Connection parameters come from the PG* variables.
'use strict';

const assert = require('node:assert/strict');
const { Client, Pool } = require('pg');

const MODE = process.env.POOL_MODE;

async function withClient(work) {
  const client = new Client();
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function queries(client) {
  const several = await client.query("select 1 as a; select 'two' as b, null as c");
  assert.deepEqual(several[0].rows, [{ a: 1 }]);
  assert.deepEqual(several[1].rows, [{ b: 'two', c: null }]);
  const empty = await client.query('');
  assert.equal(empty.rowCount, null);
  const long = 'z'.repeat(300000);
  const echoed = await client.query('select $1::text as t, $2::int + 1 as n', [long, 41]);
  assert.deepEqual(echoed.rows, [{ t: long, n: 42 }]);
  const many = await client.query('select n from generate_series(1, 10000) n');
  assert.equal(many.rows.length, 10000);
}

async function prepared(client) {
  for (let n = 0; n < 20; n += 1) {
    const result = await client.query({ name: 'add', text: 'select $1::int + 1 as n', values: [n] });
    assert.deepEqual(result.rows, [{ n: n + 1 }]);
  }
  for (let n = 0; n < 100; n += 1) {
    const statement = { name: `number ${n}`, text: `select ${n} as n, $1::text as t`, values: ['x'] };
    assert.deepEqual((await client.query(statement)).rows, [{ n, t: 'x' }]);
  }
}

async function errors(client) {
  await assert.rejects(client.query('select 1 / 0'), { code: '22012' });
  await assert.rejects(client.query('select $1::int', ['no number']), { code: '22P02' });
  const bad = { name: 'bad', text: 'select missing from nowhere', values: [] };
  await assert.rejects(client.query(bad), { code: '42P01' });
  assert.deepEqual((await client.query('select 3 as n')).rows, [{ n: 3 }]);
}

async function transactions(client) {
  await client.query('create table node_row (id int primary key)');
  await client.query('begin');
  await client.query('insert into node_row values ($1)', [1]);
  await assert.rejects(client.query('insert into node_row values ($1)', [1]), { code: '23505' });
  await assert.rejects(client.query('select 1'), { code: '25P02' });
  await client.query('rollback');
  await client.query('begin');
  await client.query('insert into node_row values ($1)', [2]);
  await client.query('commit');
  assert.deepEqual((await client.query('select id from node_row')).rows, [{ id: 2 }]);
}

async function crowd(size) {
  const work = (number) => withClient(async (client) => {
    for (let step = 0; step < 10; step += 1) {
      const statement = { name: 'sum', text: 'select $1::int + $2::int as n', values: [number, step] };
      const result = await client.query(statement);
      assert.deepEqual(result.rows, [{ n: number + step }]);
    }
  });
  await Promise.all(Array.from({ length: size }, (_, number) => work(number)));
}

async function pooled() {
  const pool = new Pool({ max: 2 });
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const rows = await Promise.all(numbers.map((n) => pool.query('select $1::int as n', [n])));
  assert.deepEqual(rows.map((result) => result.rows[0].n), numbers);
  await pool.end();
}

async function main() {
  await withClient(async (client) => {
    await queries(client);
    await prepared(client);
    await errors(client);
    await transactions(client);
  });
  await pooled();
  // In session mode clients wait for each other's end: the two backends serve them in turn.
  await crowd(MODE === 'session' ? 10 : 50);
  console.log('OK');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
