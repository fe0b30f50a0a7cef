-- psql through the sidecar: any user, no password. Prints OK at its end; stops at the first
-- error, and where an answer differs. Run with ON_ERROR_STOP and -v dir=DIRECTORY for its files.

\set QUIET on

select current_database() = :'DBNAME' and :'USER' = 'legacy-app' as good \gset
\if :good
\else
  \warn the connection is not the one that was asked for
  select 1 / 0;
\endif

-- Transactions, one that fails among them.
create table psql_row (id int primary key, body text);
begin;
insert into psql_row select n, 'row ' || n from generate_series(1, 100) n;
commit;
begin;
delete from psql_row;
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
select 1 / 0;
\set ON_ERROR_STOP on
rollback;
select count(*) as rows from psql_row \gset
select :rows = 100 as good \gset
\if :good
\else
  \warn rows after a rollback: :rows
  select 1 / 0;
\endif

-- COPY both ways, over a file.
\set out :dir '/psql_row.csv'
\set copy_out '\\copy psql_row to ' :'out' ' csv'
\set copy_in '\\copy psql_copy from ' :'out' ' csv'
create table psql_copy (like psql_row);
:copy_out
:copy_in
select count(*) as rows, sum(id) as total from psql_copy \gset
select :rows = 100 and :total = 5050 as good \gset
\if :good
\else
  \warn rows copied: :rows
  select 1 / 0;
\endif

-- Several statements at once, each row run as a command, a described result (which is prepared
-- and never run).
select 1 \; select 2 as second \gset
select format('insert into psql_copy values (%s, %L)', n, 'more') from generate_series(101, 103) n \gexec
select count(*) as rows from psql_copy \gset
select id, body from psql_row where id = 1 \gdesc

-- A cursor inside a transaction, read in parts.
\set FETCH_COUNT 10
begin;
select id from psql_row order by id;
commit;
\set FETCH_COUNT 0
select :second = 2 and :rows = 103 as good \gset
\if :good
\else
  \warn second: :second, rows: :rows
  select 1 / 0;
\endif

-- A new session on the same sidecar.
\connect
select count(*) as rows from psql_row \gset
select :rows = 100 as good \gset
\if :good
  \echo OK
\else
  \warn rows after a new session: :rows
  select 1 / 0;
\endif
