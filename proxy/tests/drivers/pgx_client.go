// pgx (Go) through the sidecar: any user, no password. Prints OK, or fails with what differed.
//
// Connection parameters come from the PG* variables; POOL_MODE says what may be expected.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgtype"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var (
	mode       = os.Getenv("POOL_MODE")
	background = context.Background()
	// The program gives a connection up, or changes its mind.
	errSecondThoughts = errors.New("second thoughts")
)

func main() {
	connection := connect("")
	types(connection)
	cached(connection)
	changedType(connection)
	transactions(connection)
	refusals(connection)
	batches(connection)
	copies(connection)
	largeObjects(connection)
	settings(connection)
	cancel(connection)
	closeAll(connection)
	smallCaches()
	startupSettings()
	deadline()
	if mode != "transaction" {
		notifications()
		state()
	}
	pooled()
	fmt.Println("OK")
}

// What `more` adds to the connection string wins over the environment.
func connect(more string) *pgx.Conn {
	config, err := pgx.ParseConfig(more)
	must("a connection string", err)
	connection, err := pgx.ConnectConfig(background, config)
	must("connect", err)
	return connection
}

func closeAll(connections ...*pgx.Conn) {
	for _, connection := range connections {
		must("close", connection.Close(background))
	}
}

func fail(format string, arguments ...any) {
	fmt.Printf(format+"\n", arguments...)
	os.Exit(1)
}

func must(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func expect(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		fail("%s: %v, expected %v", what, found, wanted)
	}
}

func expectState(what string, err error, state string) *pgconn.PgError {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		fail("%s: %v, expected an error of the server", what, err)
	}
	expect(what, said.Code, state)
	return said
}

// Connections, pools and transactions.
type querier interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}

func run(on querier, sql string, arguments ...any) {
	_, err := on.Exec(background, sql, arguments...)
	must(sql, err)
}

func number(on querier, sql string, arguments ...any) int {
	var value int
	must(sql, on.QueryRow(background, sql, arguments...).Scan(&value))
	return value
}

func text(on querier, sql string, arguments ...any) string {
	var value string
	must(sql, on.QueryRow(background, sql, arguments...).Scan(&value))
	return value
}

// Binary both ways.
func types(connection *pgx.Conn) {
	sent := time.Date(2024, 2, 29, 12, 30, 0, 123456000, time.UTC)
	long := strings.Repeat("ä", 200000)
	var (
		when  time.Time
		bytes []byte
		array []int32
		json  map[string]any
		exact pgtype.Numeric
		none  *string
		words string
	)
	row := connection.QueryRow(background,
		"select $1::timestamptz, $2::bytea, $3::int[], $4::jsonb, $5::numeric, $6::text, $7::text",
		sent, []byte{0, 255, 7}, []int32{1, 2, 3}, map[string]any{"a": "b"}, "12345678901234567890.5",
		nil, long)
	must("types", row.Scan(&when, &bytes, &array, &json, &exact, &none, &words))
	expect("a time", when.Equal(sent), true)
	expect("bytes", bytes, []byte{0, 255, 7})
	expect("an array", array, []int32{1, 2, 3})
	expect("JSON", json, map[string]any{"a": "b"})
	expect("a number", fmt.Sprintf("%v %v", exact.Int, exact.Exp), "123456789012345678905 -1")
	expect("null", none, (*string)(nil))
	expect("a long text", words == long, true)
	simple := connection.QueryRow(background, "select $1::int + 1", pgx.QuerySimpleProtocol(true), 41)
	var sum int
	must("the simple protocol", simple.Scan(&sum))
	expect("the simple protocol", sum, 42)
	results, err := connection.PgConn().Exec(background, "select 1; select 'two'; ").ReadAll()
	must("several statements", err)
	expect("results of several statements", len(results), 2)
	expect("the second", string(results[1].Rows[0][0]), "two")
}

// pgx prepares whatever it is given, under a name of its own, and keeps 512 of them.
func cached(connection *pgx.Conn) {
	for n := 0; n < 20; n++ {
		expect("a cached statement", number(connection, "select $1::int + 1", n), n+1)
	}
	for n := 0; n < 150; n++ {
		expect("one of many", number(connection, fmt.Sprintf("select %d + $1::int", n), 1), n+1)
	}
	_, err := connection.Prepare(background, "by name", "select $1::text || $2::text")
	must("prepare", err)
	expect("by its name", text(connection, "by name", "a", "b"), "ab")
	must("deallocate", connection.Deallocate(background, "by name"))
	_, err = connection.Prepare(background, "by name", "select 'another' || $1::text")
	must("prepare another", err)
	expect("another by that name", text(connection, "by name", "!"), "another!")
}

// A table that changes under a cached statement: refused once, then prepared anew.
func changedType(connection *pgx.Conn) {
	run(connection, "create table go_shape (a int)")
	run(connection, "insert into go_shape values (1)")
	columns := func() int {
		rows, err := connection.Query(background, "select * from go_shape")
		if err == nil {
			defer rows.Close()
			for rows.Next() {
			}
			err = rows.Err()
		}
		if err != nil {
			expectState("a changed table", err, "0A000")
			return 0
		}
		return len(rows.FieldDescriptions())
	}
	expect("columns", columns(), 1)
	run(connection, "alter table go_shape add b text")
	if found := columns(); found != 0 {
		expect("columns of the changed table", found, 2)
	}
	expect("columns afterwards", columns(), 2)
}

func transactions(connection *pgx.Conn) {
	run(connection, "create table go_account (id int primary key, balance int not null)")
	run(connection, "insert into go_account values (1, 10), (2, 20)")
	sum := func() int { return number(connection, "select sum(balance)::int from go_account") }
	err := connection.BeginFunc(background, func(tx pgx.Tx) error {
		run(tx, "update go_account set balance = 0")
		return errSecondThoughts
	})
	expect("a rollback", err, errSecondThoughts)
	expect("the sum after it", sum(), 30)
	outer, err := connection.Begin(background)
	must("begin", err)
	run(outer, "update go_account set balance = 11 where id = $1", 1)
	inner, err := outer.Begin(background)
	must("savepoint", err)
	run(inner, "update go_account set balance = 99")
	_, err = inner.Exec(background, "select 1 / $1::int", 0)
	expectState("in a savepoint", err, "22012")
	must("back to the savepoint", inner.Rollback(background))
	must("commit", outer.Commit(background))
	expect("the sum after a savepoint", sum(), 31)
	failed, err := connection.Begin(background)
	must("begin", err)
	_, err = failed.Exec(background, "insert into go_account values (1, 1)")
	expectState("a duplicate", err, "23505")
	expect("a commit of what has failed", failed.Commit(background), pgx.ErrTxCommitRollback)
	options := pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly}
	err = connection.BeginTxFunc(background, options, func(tx pgx.Tx) error {
		expect("its isolation", text(tx, "show transaction_isolation"), "serializable")
		_, err := tx.Exec(background, "delete from go_account")
		return err
	})
	expectState("a change in a read-only transaction", err, "25006")
	expect("the sum at last", sum(), 31)
}

func refusals(connection *pgx.Conn) {
	_, err := connection.Exec(background, "select missing from nowhere")
	expectState("no such table", err, "42P01")
	_, err = connection.Exec(background, "select $1::int", "no number")
	expect("a value that is refused here", err != nil, true)
	_, err = connection.Exec(background, "insert into go_account values (3, null)")
	said := expectState("no value", err, "23502")
	expect("the table in an error", said.TableName, "go_account")
	expect("the column in an error", said.ColumnName, "balance")
	_, err = connection.PgConn().Exec(background, "select 1; select 1 / 0; select 2").ReadAll()
	expectState("in the middle of several", err, "22012")
	expect("a query after errors", number(connection, "select 3"), 3)
}

// One Sync behind hundreds of statements.
func batches(connection *pgx.Conn) {
	batch := &pgx.Batch{}
	for n := 0; n < 300; n++ {
		batch.Queue("select $1::int * 2", n)
		batch.Queue(fmt.Sprintf("select $1::text || ' %d'", n%7), "x")
	}
	results := connection.SendBatch(background, batch)
	for n := 0; n < 300; n++ {
		var double int
		must("a number of a batch", results.QueryRow().Scan(&double))
		expect("a number of a batch", double, n*2)
		var words string
		must("a text of a batch", results.QueryRow().Scan(&words))
		expect("a text of a batch", words, fmt.Sprintf("x %d", n%7))
	}
	must("the end of a batch", results.Close())
	// A batch is one transaction: what fails takes all of it along.
	batch = &pgx.Batch{}
	batch.Queue("insert into go_account values ($1, $2)", 3, 30)
	batch.Queue("select 1 / $1::int", 0)
	batch.Queue("insert into go_account values ($1, $2)", 4, 40)
	results = connection.SendBatch(background, batch)
	_, err := results.Exec()
	must("the first of a batch that fails", err)
	_, err = results.Exec()
	expectState("the second", err, "22012")
	_, err = results.Exec()
	expect("the third fails, too", err != nil, true)
	expectState("the end of a batch that failed", results.Close(), "22012")
	expect("rows after it", number(connection, "select count(*)::int from go_account"), 2)
}

func copies(connection *pgx.Conn) {
	run(connection, "create table go_copy (id int check (id >= 0), body text)")
	body := strings.Repeat("x", 3000)
	into := func(rows int, row func(int) ([]any, error)) (int64, error) {
		return connection.CopyFrom(background, pgx.Identifier{"go_copy"}, []string{"id", "body"},
			pgx.CopyFromSlice(rows, row))
	}
	copied, err := into(3000, func(n int) ([]any, error) { return []any{n, body}, nil })
	must("copy in", err)
	expect("rows copied in", copied, int64(3000))
	_, err = into(3000, func(n int) ([]any, error) { return []any{10 - n, body}, nil })
	expectState("a row that is refused", err, "23514")
	_, err = into(10, func(n int) ([]any, error) {
		if n == 5 {
			return nil, errSecondThoughts
		}
		return []any{n, body}, nil
	})
	expect("a copy that was given up", err != nil, true)
	expect("rows after all", number(connection, "select count(*)::int from go_copy"), 3000)
	var out bytes.Buffer
	tag, err := connection.PgConn().CopyTo(background, &out, "copy go_copy to stdout")
	must("copy out", err)
	expect("rows copied out", tag.RowsAffected(), int64(3000))
	expect("lines copied out", bytes.Count(out.Bytes(), []byte{'\n'}), 3000)
}

func largeObjects(connection *pgx.Conn) {
	written := bytes.Repeat([]byte("0123456789"), 10000)
	err := connection.BeginFunc(background, func(tx pgx.Tx) error {
		objects := tx.LargeObjects()
		oid, err := objects.Create(background, 0)
		must("a large object", err)
		object, err := objects.Open(background, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
		must("open it", err)
		_, err = object.Write(written)
		must("write it", err)
		_, err = object.Seek(0, 0)
		must("go to its start", err)
		read := make([]byte, len(written))
		_, err = object.Read(read)
		must("read it", err)
		expect("what was read", bytes.Equal(read, written), true)
		must("close it", object.Close())
		return objects.Unlink(background, oid)
	})
	must("large objects", err)
}

// What the server reports goes along in every mode.
func settings(connection *pgx.Conn) {
	run(connection, "set time zone 'Asia/Tokyo'")
	expect("what was reported", connection.PgConn().ParameterStatus("TimeZone"), "Asia/Tokyo")
	for n := 0; n < 5; n++ {
		expect("the time zone", text(connection, "select current_setting('TimeZone')"), "Asia/Tokyo")
	}
	run(connection, "set time zone 'UTC'")
	expect("what was reported", connection.PgConn().ParameterStatus("TimeZone"), "UTC")
	err := connection.BeginFunc(background, func(tx pgx.Tx) error {
		run(tx, "set local work_mem = '3MB'")
		expect("a local setting", text(tx, "show work_mem"), "3MB")
		return nil
	})
	must("a local setting", err)
	expect("after it", text(connection, "show work_mem"), "4MB")
}

// A cancel request by hand: the connection goes on.
func cancel(connection *pgx.Conn) {
	for n := 0; n < 3; n++ {
		done := make(chan error)
		go func() {
			time.Sleep(300 * time.Millisecond)
			done <- connection.PgConn().CancelRequest(background)
		}()
		_, err := connection.Exec(background, "select pg_sleep(60)")
		expectState("a cancelled query", err, "57014")
		must("a cancel request", <-done)
		expect("a query after a cancelled one", number(connection, "select 6"), 6)
	}
}

// Caches that overflow: pgx forgets with DEALLOCATE. And those of the unnamed statement.
func smallCaches() {
	for _, options := range []string{
		"statement_cache_capacity=5",
		"statement_cache_capacity=5 statement_cache_mode=describe",
		"statement_cache_capacity=0",
	} {
		one, other := connect(options), connect(options)
		for n := 0; n < 60; n++ {
			sql := fmt.Sprintf("select %d + $1::int", n%8)
			expect("with "+options, number(one, sql, n), n%8+n)
			if mode != "session" || n == 0 {
				expect("another with "+options, number(other, sql, -n), n%8-n)
			}
		}
		closeAll(one, other)
	}
}

// RuntimeParams and an `options` of libpq's.
func startupSettings() {
	config, err := pgx.ParseConfig("application_name=ledger options='-c work_mem=5MB'")
	must("a connection string", err)
	config.RuntimeParams["search_path"] = "go_schema, public"
	config.RuntimeParams["statement_timeout"] = "400"
	connection, err := pgx.ConnectConfig(background, config)
	must("connect with settings", err)
	defer closeAll(connection)
	run(connection, "create schema if not exists go_schema")
	run(connection, "create table where_am_i ()")
	expect("its schema", text(connection, "select schemaname::text from pg_tables where tablename = 'where_am_i'"), "go_schema")
	expect("application_name", text(connection, "show application_name"), "ledger")
	expect("work_mem", text(connection, "show work_mem"), "5MB")
	_, err = connection.Exec(background, "select pg_sleep(60)")
	expectState("a statement's time-out", err, "57014")
}

// A context that ends: pgx asks for a cancel and closes. The backend is free again soon.
func deadline() {
	for n := 0; n < 3; n++ {
		connection := connect("")
		ending, stop := context.WithTimeout(background, 300*time.Millisecond)
		_, err := connection.Exec(ending, "select pg_sleep(60) /* go deadline */")
		stop()
		expect("a query with a deadline", pgconn.Timeout(err), true)
		expect("its connection", connection.IsClosed(), true)
		<-connection.PgConn().CleanupDone()
	}
	watcher := connect("")
	defer closeAll(watcher)
	began := time.Now()
	for number(watcher, "select count(*)::int from pg_stat_activity "+
		"where state = 'active' and query like '%go deadline%' and pid <> pg_backend_pid()") > 0 {
		if time.Since(began) > 10*time.Second {
			fail("a query outlived its deadline")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Only where a client may keep its backend.
func notifications() {
	listener, speaker := connect(""), connect("")
	defer closeAll(listener, speaker)
	run(listener, "listen go_news")
	for n := 0; n < 3; n++ {
		payload := fmt.Sprintf("news %d", n)
		run(speaker, "select pg_notify('go_news', $1)", payload)
		waiting, stop := context.WithTimeout(background, 10*time.Second)
		notification, err := listener.WaitForNotification(waiting)
		stop()
		must("a notification", err)
		expect("its channel", notification.Channel, "go_news")
		expect("its payload", notification.Payload, payload)
	}
	waiting, stop := context.WithTimeout(background, 100*time.Millisecond)
	_, err := listener.WaitForNotification(waiting)
	stop()
	expect("no notification", pgconn.Timeout(err), true)
	expect("a query of who listened", number(listener, "select 7"), 7)
	run(listener, "unlisten *")
}

// What a session has, in the middle of what others do.
func state() {
	mine, other := connect(""), connect("")
	defer closeAll(mine, other)
	run(mine, "set work_mem = '1234kB'")
	run(mine, "select set_config('app.name', 'mine', false)")
	run(mine, "create temp table go_temp as select 5 as n")
	run(mine, "select pg_advisory_lock($1)", 78)
	expect("another's memory", text(other, "show work_mem"), "4MB")
	expect("another's lock", text(other, "select pg_try_advisory_lock($1)::text", 78), "false")
	expect("my memory", text(mine, "show work_mem"), "1234kB")
	expect("my name", text(mine, "select current_setting('app.name')"), "mine")
	expect("my table", number(mine, "select n from go_temp"), 5)
	run(mine, "select pg_advisory_unlock($1)", 78)
	run(mine, "drop table go_temp")
	expect("another's lock now", text(other, "select pg_try_advisory_lock($1)::text", 78), "true")
	run(other, "select pg_advisory_unlock($1)", 78)
	expect("my memory at last", text(mine, "show work_mem"), "1234kB")
}

// pgxpool with more connections than there are backends, where those may be shared.
func pooled() {
	config, err := pgxpool.ParseConfig("")
	must("a connection string", err)
	config.MaxConns = 8
	if mode == "session" {
		config.MaxConns = 2
	}
	config.AfterConnect = func(with context.Context, connection *pgx.Conn) error {
		_, err := connection.Exec(with, "set application_name = 'go pool'")
		return err
	}
	pool, err := pgxpool.ConnectConfig(background, config)
	must("a pool", err)
	defer pool.Close()
	var crowd sync.WaitGroup
	for worker := 0; worker < 16; worker++ {
		crowd.Add(1)
		go func(worker int) {
			defer crowd.Done()
			for step := 0; step < 30; step++ {
				expect("an answer in a crowd", number(pool, "select $1::int * 1000 + $2::int", worker, step),
					worker*1000+step)
				err := pool.BeginFunc(background, func(tx pgx.Tx) error {
					expect("in a transaction", text(tx, "show application_name"), "go pool")
					expect("and again", number(tx, "select $1::int", step), step)
					return nil
				})
				must("a transaction in a crowd", err)
			}
		}(worker)
	}
	crowd.Wait()
	expect("connections of the pool", pool.Stat().TotalConns() <= config.MaxConns, true)
}
