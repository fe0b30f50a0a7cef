// lib/pq (Go) on the console: the driver of prometheus-community's exporter, which queries without
// parameters in the simple protocol, and here in the extended one, too. Prints OK, or fails with
// what differed.
//
// Connection parameters come from the PG* variables.
package main

import (
	"database/sql"
	"fmt"
	"os"

	"github.com/lib/pq"
)

func main() {
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("OK")
}

func run() error {
	db, err := sql.Open("postgres", "")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := db.Ping(); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	for _, show := range []string{
		"VERSION", "LISTS", "CONFIG", "CLIENTS", "SERVERS", "DATABASES", "STATS", "STATS_TOTALS", "POOLS", "USERS",
	} {
		command := "SHOW " + show + ";"
		simple, err := db.Query(command)
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		names, count, err := read(simple)
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		statement, err := db.Prepare(command)
		if err != nil {
			return fmt.Errorf("%s prepared: %w", command, err)
		}
		prepared, err := statement.Query()
		if err != nil {
			return fmt.Errorf("%s prepared: %w", command, err)
		}
		also, number, err := read(prepared)
		if err != nil {
			return fmt.Errorf("%s prepared: %w", command, err)
		}
		if fmt.Sprint(names) != fmt.Sprint(also) || count != number {
			return fmt.Errorf("%s: %v %d, prepared %v %d", command, names, count, also, number)
		}
		if err := statement.Close(); err != nil {
			return fmt.Errorf("%s closed: %w", command, err)
		}
	}
	_, err = db.Query("SHOW BOATS")
	if refusal, ok := err.(*pq.Error); !ok || refusal.Code != "42601" || refusal.Hint == "" {
		return fmt.Errorf("SHOW BOATS: %v", err)
	}
	return nil
}

// The exporter's way: into interfaces, of which it knows numbers and texts.
func read(rows *sql.Rows) ([]string, int, error) {
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, 0, err
	}
	count := 0
	for rows.Next() {
		values := make([]interface{}, len(names))
		into := make([]interface{}, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, 0, err
		}
		for i, value := range values {
			switch value.(type) {
			case int64, string, nil:
			default:
				return nil, 0, fmt.Errorf("%s is %T", names[i], value)
			}
		}
		count++
	}
	return names, count, rows.Err()
}
