// go-mssqldb (Go's database/sql) through the sidecar: any user, no matter which password. Prints
// what it did and OK, or fails with what differed.
//
// SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
// expected; RUN is part of names that two runs must not share.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	mssql "github.com/denisenkom/go-mssqldb"
)

var (
	mode  = os.Getenv("POOL_MODE")
	table = "go_account_" + os.Getenv("RUN")
)

func expect(what string, found, wanted interface{}) {
	if !reflect.DeepEqual(found, wanted) {
		log.Fatalf("%s: %#v, expected %#v", what, found, wanted)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// open gives a pool of one connection, with what the text says besides.
func open(more string) *sql.DB {
	text := fmt.Sprintf("server=%s;port=%s;user id=%s;password=%s;database=%s;%s",
		os.Getenv("SQL_HOST"), os.Getenv("SQL_PORT"), os.Getenv("SQL_USER"),
		os.Getenv("SQL_PASSWORD"), os.Getenv("SQL_DATABASE"), more)
	db, err := sql.Open("mssql", text)
	must(err)
	db.SetMaxOpenConns(1)
	return db
}

func execute(db *sql.DB, text string, values ...interface{}) {
	_, err := db.Exec(text, values...)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
}

func number(db *sql.DB, text string, values ...interface{}) int64 {
	var found int64
	if err := db.QueryRow(text, values...).Scan(&found); err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
	return found
}

func failure(err error) int32 {
	problem, ok := err.(mssql.Error)
	if !ok {
		panic(fmt.Sprintf("not the server's error: %v", err))
	}
	return problem.Number
}

func types(db *sql.DB) {
	zone := time.FixedZone("", 5400)
	var (
		i     int64
		f     float64
		n     string
		v     []byte
		x     bool
		t     time.Time
		d     string
		z     sql.NullInt64
		money string
	)
	at := time.Date(2024, 2, 29, 13, 14, 15, 123456700, zone)
	row := db.QueryRow(`select ?, ?, ?, ?, ?, ?, cast(? as decimal(19,4)), ?, cast(12.34 as money)`,
		int64(9007199254740993), 1.5, "Grüße, Привет, 日本 \U0001f600", []byte{0, 1, 255}, true, at,
		"-12345.6789", nil)
	must(row.Scan(&i, &f, &n, &v, &x, &t, &d, &z, &money))
	expect("a bigint", i, int64(9007199254740993))
	expect("a float", f, 1.5)
	expect("a text", n, "Grüße, Привет, 日本 \U0001f600")
	expect("bytes", v, []byte{0, 1, 255})
	expect("a bit", x, true)
	expect("a time with its zone", t.Equal(at), true)
	expect("a decimal", d, "-12345.6789")
	expect("a NULL", z.Valid, false)
	expect("money", money, "12.3400")
	long := strings.Repeat("long ", 10000)
	var text string
	var binary []byte
	must(db.QueryRow("select ?, ?", long, bytes.Repeat([]byte{7}, 20000)).Scan(&text, &binary))
	expect("a long text", text, long)
	expect("long bytes", binary, bytes.Repeat([]byte{7}, 20000))
}

func balances(db *sql.DB) []int64 {
	rows, err := db.Query("select balance from " + table + " order by id")
	must(err)
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var balance int64
		must(rows.Scan(&balance))
		all = append(all, balance)
	}
	must(rows.Err())
	return all
}

func transactions(db *sql.DB) {
	execute(db, "create table "+table+" (id int primary key, balance int)")
	execute(db, "insert into "+table+" values (?, ?), (?, ?)", 1, 10, 2, 20)
	tx, err := db.Begin()
	must(err)
	_, err = tx.Exec("update " + table + " set balance = 0")
	must(err)
	must(tx.Rollback())
	expect("balances after a rollback", balances(db), []int64{10, 20})
	tx, err = db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(err)
	for _, text := range []string{
		"save transaction here", "update " + table + " set balance = 5",
		"rollback transaction here", "update " + table + " set balance = 11 where id = 1",
	} {
		_, err = tx.Exec(text)
		must(err)
	}
	must(tx.Commit())
	expect("balances after a savepoint", balances(db), []int64{11, 20})
}

func errors(db *sql.DB) {
	_, err := db.Exec("insert into "+table+" values (?, ?)", 1, 1)
	expect("a second row of a key", failure(err), int32(2627))
	_, err = db.Exec("select * from nowhere_at_all")
	expect("a table that is not there", failure(err), int32(208))
	_, err = db.Exec("throw 50123, 'of our own', 4")
	expect("an error of the program's own", failure(err), int32(50123))
	expect("an answer after errors", number(db, "select 5"), int64(5))
	done, err := db.Exec("update " + table + " set balance = balance")
	must(err)
	count, err := done.RowsAffected()
	must(err)
	expect("rows of an update", count, int64(2))
}

func prepared(db *sql.DB) {
	statement, err := db.Prepare("select ? + 1")
	must(err)
	for n := int64(0); n < 30; n++ {
		var found int64
		must(statement.QueryRow(n).Scan(&found))
		expect("a prepared statement", found, n+1)
	}
	must(statement.Close())
}

func results(db *sql.DB) {
	rows, err := db.Query("select 1; select 'two'")
	must(err)
	defer rows.Close()
	var one int64
	var two string
	expect("a first result", rows.Next(), true)
	must(rows.Scan(&one))
	expect("its end", rows.Next(), false)
	expect("there is a second", rows.NextResultSet(), true)
	expect("a second result", rows.Next(), true)
	must(rows.Scan(&two))
	expect("both", fmt.Sprint(one, two), "1two")
}

func bulk(db *sql.DB) {
	execute(db, "create table "+table+"_bulk (id int, name nvarchar(40) null)")
	tx, err := db.Begin()
	must(err)
	load, err := tx.Prepare(mssql.CopyIn(table+"_bulk", mssql.MssqlBulkOptions{}, "id", "name"))
	must(err)
	for n := 0; n < 2000; n++ {
		_, err = load.Exec(n, fmt.Sprint("row ", n))
		must(err)
	}
	_, err = load.Exec()
	must(err)
	must(load.Close())
	must(tx.Commit())
	expect("rows of a bulk copy", number(db, "select count(*) from "+table+"_bulk"), int64(2000))
	expect("their sum", number(db, "select sum(id) from "+table+"_bulk"), int64(1999000))
}

func large(db *sql.DB) {
	megabytes, err := strconv.Atoi(os.Getenv("LARGE_MB"))
	must(err)
	wanted := int64(megabytes) * 1000
	digits := "(values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
	rows, err := db.Query(strings.Replace(`select top (?)
		1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, replicate('x', 1000)
		from D a (n), D b (n), D c (n), D d (n), D e (n) order by 1`, "D", digits, -1), wanted)
	must(err)
	defer rows.Close()
	var count, length int64
	for rows.Next() {
		var n int64
		var text string
		must(rows.Scan(&n, &text))
		count++
		length += int64(len(text))
		expect("a row's number", n, count)
	}
	must(rows.Err())
	expect("rows of a large result", count, wanted)
	expect("their length", length, wanted*1000)
}

func cancel(db *sql.DB) {
	soon, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	began := time.Now()
	_, err := db.ExecContext(soon, "waitfor delay '00:00:30'")
	expect("a statement that is cancelled fails", err != nil, true)
	expect("it fails in time", time.Since(began) < 10*time.Second, true)
	expect("an answer after a cancelled one", number(db, "select 5"), int64(5))
}

// encrypted leaves its connections in TLS open: this old version of the driver can't close them
// under a newer Go.
func encrypted(_ *sql.DB) {
	db := open("encrypt=true;TrustServerCertificate=true")
	expect("an answer in TLS", number(db, "select 8"), int64(8))
	long := strings.Repeat("x", 100000)
	expect("a long text in TLS", number(db, "select len(?)", long), int64(100000))
	db = open("encrypt=disable")
	expect("an answer in clear", number(db, "select 9"), int64(9))
	must(db.Close())
	if authority := os.Getenv("SQL_CERTIFICATE"); authority != "" {
		db = open("encrypt=true;hostNameInCertificate=localhost;certificate=" + authority)
		expect("an answer in TLS that is checked", number(db, "select 8"), int64(8))
	}
}

// state is what a session has, in the middle of what others do.
func state(_ *sql.DB) {
	mine, other := open(""), open("")
	execute(mine, "create table #mine (n int); insert into #mine values (5); set datefirst 3")
	_, err := other.Exec("select n from #mine")
	expect("somebody else's temporary table", failure(err), int32(208))
	expect("a temporary table", number(mine, "select n from #mine"), int64(5))
	expect("a setting", number(mine, "select @@datefirst"), int64(3))
	expect("another session's setting", number(other, "select @@datefirst"), int64(7))
	execute(mine, "drop table #mine")
	expect("a setting after that", number(mine, "select @@datefirst"), int64(3))
	must(mine.Close())
	must(other.Close())
}

func crowd(_ *sql.DB) {
	var all sync.WaitGroup
	for n := 0; n < 6; n++ {
		all.Add(1)
		go func(n int64) {
			defer all.Done()
			db := open("")
			for step := int64(0); step < 20; step++ {
				tx, err := db.Begin()
				must(err)
				var found int64
				must(tx.QueryRow("select ? + ?", n, step).Scan(&found))
				expect("an answer in a crowd", found, n+step)
				must(tx.Commit())
			}
			must(db.Close())
		}(int64(n))
	}
	all.Wait()
}

func main() {
	if os.Getenv("COMPANY") != "" {
		// It only reads, since the test server has one writer at a time.
		for round := 0; round < 4; round++ {
			crowd(nil)
		}
		fmt.Println("OK")
		return
	}
	db := open("")
	steps := []struct {
		name string
		run  func(*sql.DB)
	}{
		{"types", types}, {"transactions", transactions}, {"errors", errors},
		{"prepared", prepared}, {"results", results}, {"bulk", bulk}, {"large", large},
		{"cancel", cancel}, {"encrypted", encrypted}, {"state", state}, {"crowd", crowd},
	}
	for _, step := range steps {
		if step.name == "state" && mode == "transaction" {
			continue
		}
		step.run(db)
		fmt.Println(step.name + ": as expected")
	}
	must(db.Close())
	fmt.Println("OK")
}
