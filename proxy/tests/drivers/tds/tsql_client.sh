#!/bin/sh
# FreeTDS's tsql through the sidecar: any user, no matter which password. Runs the batches of $1,
# and compares what they print with the file beside it. Prints OK, or what differed.
#
# SQL_HOST, SQL_PORT, SQL_DATABASE, SQL_USER, SQL_PASSWORD say where; POOL_MODE what may be
# expected; RUN is part of names that two runs must not share; COMPANY asks for readers only.
set -eu

program=${1%.sql}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# Errors first, then rows.
session() {
    TDSVER=7.4 tsql -o q -H "$SQL_HOST" -p "$SQL_PORT" -U "$SQL_USER" -P "$SQL_PASSWORD" \
        -D "$SQL_DATABASE" >"$directory/rows.$1" 2>"$directory/errors.$1"
    cat "$directory/errors.$1" "$directory/rows.$1"
}

compare() {
    sed "s/@RUN@/$RUN/g" "$1.out" >"$directory/expected"
    sed "s/@RUN@/$RUN/g" "$1.sql" | session main >"$directory/found"
    diff -u "$directory/expected" "$directory/found"
    echo "$(basename "$1"): as expected"
}

questions() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        printf 'select %s + 1 as n\ngo\n' "$1"
    done
    echo exit
}

# Six at a time.
crowd() {
    for number in 1 2 3 4 5 6; do
        questions "$number" | session "$number" >"$directory/found.$number" &
    done
    wait
    for number in 1 2 3 4 5 6; do
        count=$(grep -c "^$((number + 1))\$" "$directory/found.$number" || true)
        if [ "$count" != 10 ]; then
            echo "client $number has $count of 10 answers:"
            cat "$directory/found.$number"
            exit 1
        fi
    done
    echo "crowd: 6 at a time"
}

if [ -n "${COMPANY:-}" ]; then
    crowd
    crowd
    crowd
else
    compare "$program"
    if [ "$POOL_MODE" != transaction ]; then
        compare "${program}_state"
    fi
    crowd
fi
echo OK
