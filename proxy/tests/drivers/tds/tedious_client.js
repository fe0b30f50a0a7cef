// tedious (Node.js) through the sidecar: any user, no matter which password. Prints what it did
// and OK, or fails with what differed.
//
// SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
// expected; RUN is part of names that two runs must not share.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Connection, Request, TYPES, ISOLATION_LEVEL } = require('tedious');

const MODE = process.env.POOL_MODE;
const TABLE = `tedious_account_${process.env.RUN}`;
// Of a kilobyte each.
const DIGITS = '(values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))';
const LARGE_ROWS = Number(process.env.LARGE_MB) * 1000;

function connect(options = {}) {
  return new Promise((resolve, reject) => {
    const connection = new Connection({
      server: process.env.SQL_HOST,
      authentication: {
        type: 'default',
        options: { userName: process.env.SQL_USER, password: process.env.SQL_PASSWORD },
      },
      options: {
        port: Number(process.env.SQL_PORT),
        database: process.env.SQL_DATABASE,
        encrypt: false,
        ...options,
      },
    });
    connection.on('error', () => {});
    connection.connect((problem) => (problem ? reject(problem) : resolve(connection)));
  });
}

function close(connection) {
  return new Promise((resolve) => {
    connection.on('end', resolve);
    connection.close();
  });
}

// A request, and what it led to.
function make(sql, parameters = []) {
  const found = { sets: [], outputs: {}, count: undefined, status: undefined };
  let settle;
  const ended = new Promise((resolve, reject) => {
    settle = (problem, count) => {
      found.count = count;
      return problem ? reject(problem) : resolve(found);
    };
  });
  const request = new Request(sql, (problem, count) => settle(problem, count));
  request.on('columnMetadata', () => found.sets.push([]));
  request.on('row', (columns) => found.sets.at(-1).push(columns.map((column) => column.value)));
  request.on('returnValue', (name, value) => { found.outputs[name] = value; });
  request.on('doneProc', (_count, _more, status) => { found.status = status; });
  for (const [name, type, value, options] of parameters) {
    request.addParameter(name, type, value, options);
  }
  return { request, ended };
}

function sql(connection, text, parameters) {
  const { request, ended } = make(text, parameters);
  connection.execSql(request);
  return ended;
}

function batch(connection, text) {
  const { request, ended } = make(text);
  connection.execSqlBatch(request);
  return ended;
}

async function one(connection, text, parameters) {
  const found = await sql(connection, text, parameters);
  return found.sets[0][0];
}

async function fails(promise) {
  return promise.then(
    () => assert.fail('it went well'),
    (problem) => problem,
  );
}

function transaction(connection, action, ...more) {
  return new Promise((resolve, reject) => {
    connection[action]((problem) => (problem ? reject(problem) : resolve()), ...more);
  });
}

async function types(connection) {
  const instant = new Date(Date.UTC(2024, 1, 29, 13, 14, 15, 123));
  const values = [
    ['i', TYPES.Int, -2147483648],
    ['b', TYPES.BigInt, '9007199254740993'],
    ['f', TYPES.Float, 1.5],
    ['n', TYPES.NVarChar, 'Grüße, Привет, 日本 \u{1f600}'],
    ['t', TYPES.DateTime2, instant],
    ['v', TYPES.VarBinary, Buffer.from([0, 1, 255])],
    ['x', TYPES.Bit, true],
    ['g', TYPES.UniqueIdentifier, '00000000-0000-0000-0000-000000000007'],
    ['m', TYPES.Money, 12.34],
    ['z', TYPES.Int, null],
  ];
  const row = await one(connection, `select ${values.map(([name]) => `@${name}`).join(', ')}`, values);
  assert.deepEqual(row, values.map(([, , value]) => value));
  const [decimal] = await one(connection, 'select @d', [
    ['d', TYPES.Decimal, -12345.6789, { precision: 19, scale: 4 }],
  ]);
  assert.equal(decimal, -12345.6789);
  const long = 'long '.repeat(10_000);
  const [text, bytes] = await one(connection, 'select @t, @b', [
    ['t', TYPES.NVarChar, long],
    ['b', TYPES.VarBinary, Buffer.alloc(20_000, 7)],
  ]);
  assert.equal(text, long);
  assert.deepEqual(bytes, Buffer.alloc(20_000, 7));
}

async function transactions(connection) {
  await batch(connection, `create table ${TABLE} (id int primary key, balance int)`);
  await batch(connection, `insert into ${TABLE} values (1, 10), (2, 20)`);
  await transaction(connection, 'beginTransaction');
  await sql(connection, `update ${TABLE} set balance = 0`);
  await transaction(connection, 'rollbackTransaction');
  const balances = async () => (await sql(connection, `select balance from ${TABLE} order by id`)).sets[0].flat();
  assert.deepEqual(await balances(), [10, 20]);
  await transaction(connection, 'beginTransaction', 'named', ISOLATION_LEVEL.SERIALIZABLE);
  await transaction(connection, 'saveTransaction', 'here');
  await sql(connection, `update ${TABLE} set balance = 5`);
  await transaction(connection, 'rollbackTransaction', 'here');
  await sql(connection, `update ${TABLE} set balance = 11 where id = 1`);
  assert.deepEqual(await one(connection, 'select @@trancount'), [1]);
  await transaction(connection, 'commitTransaction');
  assert.deepEqual(await balances(), [11, 20]);
}

async function errors(connection) {
  const duplicate = await fails(sql(connection, `insert into ${TABLE} values (1, 1)`));
  assert.equal(duplicate.number, 2627);
  const missing = await fails(sql(connection, 'select * from nowhere_at_all'));
  assert.equal(missing.number, 208);
  const thrown = await fails(batch(connection, "throw 50123, 'of our own', 4"));
  assert.deepEqual([thrown.number, thrown.state, thrown.message], [50123, 4, 'of our own']);
  assert.deepEqual(await one(connection, 'select 5'), [5]);
}

async function results(connection) {
  const found = await batch(connection, "select 1; select 'two', 2; select 3 where 1 = 0");
  assert.deepEqual(found.sets, [[[1]], [['two', 2]], []]);
  const updated = await sql(connection, `update ${TABLE} set balance = balance`);
  assert.equal(updated.count, 2);
}

async function procedures(connection) {
  await batch(connection, `create procedure ${TABLE}_add @a int, @b int, @sum int output as
    begin set @sum = @a + @b; select @a as a; return 3 end`);
  const { request, ended } = make(`${TABLE}_add`, [['a', TYPES.Int, 4], ['b', TYPES.Int, 5]]);
  request.addOutputParameter('sum', TYPES.Int);
  connection.callProcedure(request);
  const found = await ended;
  assert.deepEqual([found.sets, found.outputs, found.status], [[[[4]]], { sum: 9 }, 3]);
}

// Prepared once, executed often, also when the backend has changed in between.
async function prepared(connection) {
  const request = new Request('select @n + 1', () => {});
  request.addParameter('n', TYPES.Int);
  await new Promise((resolve, reject) => {
    request.on('prepared', resolve);
    request.on('error', reject);
    connection.prepare(request);
  });
  for (let number = 0; number < 30; number += 1) {
    const value = await new Promise((resolve, reject) => {
      let found;
      request.removeAllListeners('row');
      request.on('row', (columns) => { found = columns[0].value; });
      request.userCallback = (problem) => (problem ? reject(problem) : resolve(found));
      request.callback = request.userCallback;
      connection.execute(request, { n: number });
    });
    assert.equal(value, number + 1);
  }
  await new Promise((resolve, reject) => {
    request.callback = (problem) => (problem ? reject(problem) : resolve());
    connection.unprepare(request);
  });
}

async function bulk(connection) {
  await batch(connection, `create table ${TABLE}_bulk (id int, name nvarchar(40) null)`);
  const count = await new Promise((resolve, reject) => {
    const load = connection.newBulkLoad(`${TABLE}_bulk`, (problem, rows) => (problem ? reject(problem) : resolve(rows)));
    load.addColumn('id', TYPES.Int, { nullable: true });
    load.addColumn('name', TYPES.NVarChar, { length: 40, nullable: true });
    const rows = Array.from({ length: 2000 }, (_, id) => ({ id, name: id % 7 === 0 ? null : `row ${id}` }));
    connection.execBulkLoad(load, rows);
  });
  assert.equal(count, 2000);
  const [rows, sum, names] = await one(connection, `select count(*), sum(id), count(name) from ${TABLE}_bulk`);
  assert.deepEqual([rows, sum, names], [2000, 1999000, 1714]);
}

async function large(connection) {
  let rows = 0;
  let length = 0;
  const { request, ended } = make(
    `select top (@rows) 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, replicate('x', 1000)
     from ${DIGITS} a (n), ${DIGITS} b (n), ${DIGITS} c (n), ${DIGITS} d (n), ${DIGITS} e (n) order by 1`,
    [['rows', TYPES.Int, LARGE_ROWS]],
  );
  request.removeAllListeners('row');
  request.on('row', ([number, text]) => {
    rows += 1;
    length += text.value.length;
    assert.equal(number.value, rows);
  });
  connection.execSql(request);
  await ended;
  assert.deepEqual([rows, length], [LARGE_ROWS, LARGE_ROWS * 1000]);
}

async function cancel(connection) {
  const { request, ended } = make("waitfor delay '00:00:30'");
  connection.execSql(request);
  setTimeout(() => connection.cancel(), 300);
  assert.equal((await fails(ended)).code, 'ECANCEL');
  assert.deepEqual(await one(connection, 'select 5'), [5]);
  const late = make("waitfor delay '00:00:30'");
  late.request.setTimeout(300);
  connection.execSql(late.request);
  assert.equal((await fails(late.ended)).code, 'ETIMEOUT');
  assert.deepEqual(await one(connection, 'select 6'), [6]);
}

// What the driver's pools do before they give a connection to somebody else.
async function reset(connection) {
  await batch(connection, 'set datefirst 3');
  assert.deepEqual(await one(connection, 'select @@datefirst'), [3]);
  await transaction(connection, 'reset');
  assert.deepEqual(await one(connection, 'select @@datefirst'), [7]);
}

async function encrypted() {
  const connection = await connect({ encrypt: true, trustServerCertificate: true });
  assert.deepEqual(await one(connection, "select 'tls'"), ['tls']);
  const long = 'x'.repeat(100_000);
  const [length] = await one(connection, 'select len(@t)', [['t', TYPES.NVarChar, long]]);
  assert.equal(length, 100_000);
  await close(connection);
  if (process.env.SQL_CERTIFICATE) {
    await strict();
  }
}

// TDS 8.0: TLS comes first, and the certificate is checked.
async function strict() {
  const ca = fs.readFileSync(process.env.SQL_CERTIFICATE);
  const connection = await connect({
    encrypt: 'strict',
    serverName: 'localhost',
    cryptoCredentialsDetails: { ca },
  });
  assert.deepEqual(await one(connection, "select 'tds8'"), ['tds8']);
  await close(connection);
}

// What a session has, in the middle of what others do.
async function state() {
  const [mine, other] = await Promise.all([connect(), connect()]);
  await batch(mine, 'create table #mine (n int); insert into #mine values (5)');
  await batch(mine, 'set datefirst 3');
  assert.equal((await fails(batch(other, 'select n from #mine'))).number, 208);
  assert.deepEqual((await batch(mine, 'select n from #mine')).sets, [[[5]]]);
  assert.deepEqual(await one(mine, 'select @@datefirst'), [3]);
  assert.deepEqual(await one(other, 'select @@datefirst'), [7]);
  await batch(mine, 'drop table #mine');
  assert.deepEqual(await one(mine, 'select @@datefirst'), [3]);
  await Promise.all([close(mine), close(other)]);
}

async function crowd() {
  const visit = async (number) => {
    const connection = await connect();
    for (let step = 0; step < 20; step += 1) {
      await transaction(connection, 'beginTransaction');
      const row = await one(connection, 'select @a + @b', [['a', TYPES.Int, number], ['b', TYPES.Int, step]]);
      assert.deepEqual(row, [number + step]);
      await transaction(connection, 'commitTransaction');
    }
    await close(connection);
  };
  await Promise.all(Array.from({ length: 6 }, (_, number) => visit(number)));
}

// A second program, for company: it only reads, since the test server has one writer at a time.
async function company() {
  for (let round = 0; round < 4; round += 1) {
    await crowd();
  }
  console.log('OK');
}

async function main() {
  const connection = await connect();
  const steps = [types, transactions, errors, results, procedures, prepared, bulk, large, cancel, reset];
  for (const step of steps) {
    await step(connection);
    console.log(`${step.name}: as expected`);
  }
  await close(connection);
  const own = MODE === 'transaction' ? [encrypted, crowd] : [encrypted, state, crowd];
  for (const step of own) {
    await step();
    console.log(`${step.name}: as expected`);
  }
  console.log('OK');
}

(process.env.COMPANY ? company() : main()).catch((problem) => {
  console.error(problem);
  process.exit(1);
});
