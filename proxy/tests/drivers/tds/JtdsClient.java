// jTDS, which speaks TDS 7.1: through the sidecar, or straight to a server. Prints OK, or fails with
// what differed. TDS_* variables say where; TDS_CROWD is the number of clients at a time.

import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class JtdsClient {
    interface Work {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Class.forName("net.sourceforge.jtds.jdbc.Driver");
        try (Connection connection = connect("")) {
            step("simple", () -> simple(connection));
            step("types", () -> types(connection));
            step("nulls", () -> nulls(connection));
            step("dates", () -> dates(connection));
            step("long values", () -> longValues(connection));
            step("prepared", () -> prepared(connection));
            step("batches", () -> batches(connection));
            step("keys", () -> keys(connection));
            step("transactions", () -> transactions(connection));
            step("procedures", () -> procedures(connection));
            step("errors", () -> errors(connection));
            step("large", () -> large(connection));
            step("several results", () -> severalResults(connection));
            step("cancel", () -> cancel(connection));
            step("time-out", () -> timeout(connection));
            step("cursors", () -> cursors(connection));
        }
        for (String options : new String[] {";prepareSQL=0", ";prepareSQL=1", ";prepareSQL=2",
                ";sendStringParametersAsUnicode=false", ";packetSize=512"}) {
            try (Connection connection = connect(options)) {
                step("prepared" + options, () -> prepared(connection));
                step("long values" + options, () -> longValues(connection));
                step("batches" + options, () -> batches(connection));
            }
        }
        step("crowd", () -> crowd(Integer.parseInt(System.getenv("TDS_CROWD"))));
        System.out.println("OK");
    }

    static void step(String name, Work work) throws Exception {
        try {
            work.run();
        } catch (Throwable failure) {
            throw new AssertionError(name, failure);
        }
        System.out.println(name);
    }

    static Connection connect(String options) throws SQLException {
        String url = "jdbc:jtds:sqlserver://" + System.getenv("TDS_HOST") + ":"
                + System.getenv("TDS_PORT") + "/" + System.getenv("TDS_DATABASE")
                + ";loginTimeout=20;lobBuffer=100000000" + options;
        return DriverManager.getConnection(url, System.getenv("TDS_USER"),
                System.getenv("TDS_PASSWORD"));
    }

    static void expect(String what, Object found, Object wanted) {
        if (wanted == null ? found != null : !wanted.equals(found)) {
            throw new AssertionError(what + ": " + found + ", expected " + wanted);
        }
    }

    static void expectFailure(int number, Work work) throws Exception {
        try {
            work.run();
        } catch (SQLException failure) {
            expect("number of " + failure.getMessage(), failure.getErrorCode(), number);
            return;
        }
        throw new AssertionError("no failure with number " + number);
    }

    static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static Object value(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            if (!rows.next()) {
                throw new AssertionError("no row: " + sql);
            }
            return rows.getObject(1);
        }
    }

    static void drop(Connection connection, String table) throws SQLException {
        run(connection, "IF OBJECT_ID('" + table + "') IS NOT NULL DROP TABLE " + table);
    }

    static String text(int length) {
        StringBuilder text = new StringBuilder(length);
        for (int at = 0; at < length; at++) {
            text.append((char) ('a' + at % 26));
        }
        return text.toString();
    }

    static void simple(Connection connection) throws SQLException {
        expect("select 1", value(connection, "select 1"), 1);
        expect("database", value(connection, "select db_name()"), System.getenv("TDS_DATABASE"));
        expect("product", connection.getMetaData().getDatabaseProductName(), "Microsoft SQL Server");
        expect("Unicode", value(connection, "select N'Grüße, 世界 \uD83D\uDE00'"),
                "Grüße, 世界 \uD83D\uDE00");
        expect("empty", value(connection, "select N''"), "");
    }

    static void types(Connection connection) throws SQLException {
        drop(connection, "jt_types");
        run(connection, "create table jt_types (id int primary key, big bigint, small smallint,"
                + " tiny tinyint, yes bit, money1 money, exact decimal(18, 4), approx float,"
                + " single real, moment datetime, code char(5), ncode nchar(5), name varchar(50),"
                + " nname nvarchar(50), raw varbinary(50), guid uniqueidentifier)");
        String sql = "insert into jt_types values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        Timestamp moment = Timestamp.valueOf("2024-02-29 23:59:58.123");
        byte[] raw = {0, 1, 2, (byte) 0xff, (byte) 0x80};
        try (PreparedStatement insert = connection.prepareStatement(sql)) {
            insert.setInt(1, 7);
            insert.setLong(2, Long.MIN_VALUE);
            insert.setShort(3, Short.MIN_VALUE);
            insert.setInt(4, 255);
            insert.setBoolean(5, true);
            insert.setBigDecimal(6, new java.math.BigDecimal("12345.6789"));
            insert.setBigDecimal(7, new java.math.BigDecimal("-99999999.0001"));
            insert.setDouble(8, 1.5e-7);
            insert.setFloat(9, 0.25f);
            insert.setTimestamp(10, moment);
            insert.setString(11, "abc");
            insert.setString(12, "äöü");
            insert.setString(13, "plain");
            insert.setString(14, "ünïcödé");
            insert.setBytes(15, raw);
            insert.setString(16, "6F9619FF-8B86-D011-B42D-00C04FC964FF");
            expect("inserted", insert.executeUpdate(), 1);
        }
        try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("select * from jt_types where id = 7")) {
            row.next();
            expect("bigint", row.getLong("big"), Long.MIN_VALUE);
            expect("smallint", row.getShort("small"), Short.MIN_VALUE);
            expect("tinyint", row.getInt("tiny"), 255);
            expect("bit", row.getBoolean("yes"), true);
            expect("money", row.getBigDecimal("money1"), new java.math.BigDecimal("12345.6789"));
            expect("decimal", row.getBigDecimal("exact"),
                    new java.math.BigDecimal("-99999999.0001"));
            expect("float", row.getDouble("approx"), 1.5e-7);
            expect("real", row.getFloat("single"), 0.25f);
            expect("datetime", row.getTimestamp("moment"), moment);
            expect("char", row.getString("code"), "abc  ");
            expect("nchar", row.getString("ncode"), "äöü  ");
            expect("varchar", row.getString("name"), "plain");
            expect("nvarchar", row.getString("nname"), "ünïcödé");
            expect("varbinary", Arrays.equals(row.getBytes("raw"), raw), true);
            expect("uniqueidentifier", row.getString("guid").toUpperCase(),
                    "6F9619FF-8B86-D011-B42D-00C04FC964FF");
        }
    }

    static void nulls(Connection connection) throws SQLException {
        drop(connection, "jt_nulls");
        run(connection, "create table jt_nulls (id int, a int, b bigint, c bit, d float, e decimal(9, 2),"
                + " f datetime, g varchar(20), h nvarchar(20), i varbinary(20), j varchar(max),"
                + " k nvarchar(max), l varbinary(max), m date, n time, o datetime2,"
                + " p datetimeoffset, q int)");
        run(connection, "insert into jt_nulls (id, q) values (1, 5)");
        run(connection, "insert into jt_nulls (id, b, k, o, q) values"
                + " (2, 8, N'x', '2020-01-02 03:04:05', null)");
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("select * from jt_nulls order by id")) {
            rows.next();
            for (int column = 2; column < 18; column++) {
                expect("column " + column, rows.getObject(column), null);
            }
            expect("behind NULLs", rows.getInt(18), 5);
            rows.next();
            expect("between NULLs", rows.getLong("b"), 8L);
            expect("between NULLs", rows.getString("k"), "x");
            expect("between NULLs", rows.getString("o"), "2020-01-02 03:04:05.0000000");
            expect("at the end", rows.getObject("q"), null);
            expect("at the end", rows.next(), false);
        }
    }

    static void dates(Connection connection) throws SQLException {
        drop(connection, "jt_dates");
        run(connection, "create table jt_dates (d date, t time, t0 time(0), dt datetime2,"
                + " dt3 datetime2(3), o datetimeoffset, n int)");
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_dates values (?, ?, ?, ?, ?, ?, ?)")) {
            insert.setString(1, "2024-02-29");
            insert.setString(2, "13:14:15.1234567");
            insert.setString(3, "23:59:59");
            insert.setString(4, "0001-01-01 00:00:00.0000001");
            insert.setString(5, "9999-12-31 23:59:59.999");
            insert.setString(6, "2024-02-29 01:02:03.0000004 +05:30");
            insert.setInt(7, 42);
            insert.executeUpdate();
        }
        try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("select * from jt_dates")) {
            ResultSetMetaData columns = row.getMetaData();
            for (int column = 1; column < 7; column++) {
                expect("type of " + columns.getColumnName(column), columns.getColumnTypeName(column),
                        "nvarchar");
            }
            row.next();
            expect("date", row.getString(1), "2024-02-29");
            expect("date as such", row.getDate(1), java.sql.Date.valueOf("2024-02-29"));
            expect("time", row.getString(2), "13:14:15.1234567");
            expect("time(0)", row.getString(3), "23:59:59");
            expect("datetime2", row.getString(4), "0001-01-01 00:00:00.0000001");
            expect("datetime2(3)", row.getString(5), "9999-12-31 23:59:59.999");
            expect("datetimeoffset", row.getString(6), "2024-02-29 01:02:03.0000004 +05:30");
            expect("behind them", row.getInt(7), 42);
        }
    }

    static void longValues(Connection connection) throws SQLException {
        drop(connection, "jt_long");
        run(connection, "create table jt_long (id int, v varchar(max), n nvarchar(max),"
                + " b varbinary(max), t int)");
        int[] lengths = {0, 1, 100, 3999, 4001, 8001, 70_000, 600_000};
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_long values (?, ?, ?, ?, ?)")) {
            for (int length : lengths) {
                insert.setInt(1, length);
                insert.setString(2, text(length));
                insert.setString(3, text(length).replace('a', 'ä'));
                insert.setBytes(4, text(length).getBytes());
                insert.setInt(5, -length);
                insert.executeUpdate();
            }
        }
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("select * from jt_long order by id")) {
            for (int length : lengths) {
                expect("a row for " + length, rows.next(), true);
                expect("id", rows.getInt(1), length);
                expect("varchar(max) " + length, rows.getString(2), text(length));
                expect("nvarchar(max) " + length, rows.getString(3),
                        text(length).replace('a', 'ä'));
                expect("varbinary(max) " + length,
                        Arrays.equals(rows.getBytes(4), text(length).getBytes()), true);
                expect("behind them", rows.getInt(5), -length);
            }
            expect("no other row", rows.next(), false);
        }
    }

    static void prepared(Connection connection) throws SQLException {
        drop(connection, "jt_prepared");
        run(connection, "create table jt_prepared (n int, s nvarchar(100))");
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_prepared values (?, ?)");
                PreparedStatement select = connection
                        .prepareStatement("select s from jt_prepared where n = ?");
                PreparedStatement count = connection
                        .prepareStatement("select count(*) from jt_prepared where n > ?")) {
            for (int n = 0; n < 20; n++) {
                insert.setInt(1, n);
                insert.setString(2, "row " + n);
                expect("inserted", insert.executeUpdate(), 1);
                select.setInt(1, n);
                try (ResultSet rows = select.executeQuery()) {
                    rows.next();
                    expect("selected", rows.getString(1), "row " + n);
                    expect("one row", rows.next(), false);
                }
                count.setInt(1, -1);
                try (ResultSet rows = count.executeQuery()) {
                    rows.next();
                    expect("counted", rows.getInt(1), n + 1);
                }
            }
            insert.setNull(1, Types.INTEGER);
            insert.setNull(2, Types.VARCHAR);
            insert.executeUpdate();
            expect("NULL", value(connection, "select count(*) from jt_prepared where n is null"), 1);
        }
    }

    static void batches(Connection connection) throws Exception {
        drop(connection, "jt_batch");
        run(connection, "create table jt_batch (n int primary key, s nvarchar(100))");
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_batch values (?, ?)")) {
            for (int n = 0; n < 500; n++) {
                insert.setInt(1, n);
                insert.setString(2, "value " + n);
                insert.addBatch();
            }
            int[] counts = insert.executeBatch();
            expect("counts", counts.length, 500);
            expect("each is one", Arrays.stream(counts).allMatch(count -> count == 1), true);
        }
        expect("all are there", value(connection, "select count(*) from jt_batch"), 500);
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("update jt_batch set s = 'x' where n < 10");
            statement.addBatch("delete from jt_batch where n < 5");
            int[] counts = statement.executeBatch();
            expect("counts", Arrays.toString(counts), "[10, 5]");
        }
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_batch values (?, ?)")) {
            for (int n = 498; n < 502; n++) {
                insert.setInt(1, n);
                insert.setString(2, "again");
                insert.addBatch();
            }
            insert.executeBatch();
            throw new AssertionError("a key twice");
        } catch (BatchUpdateException failure) {
            expect("number of " + failure.getMessage(), failure.getErrorCode(), 2627);
        }
    }

    static void keys(Connection connection) throws SQLException {
        drop(connection, "jt_keys");
        run(connection, "create table jt_keys (id int identity(1,1) primary key, s varchar(20))");
        for (int n = 0; n < 3; n++) {
            try (PreparedStatement insert = connection.prepareStatement(
                    "insert into jt_keys (s) values (?);", Statement.RETURN_GENERATED_KEYS)) {
                insert.setString(1, "k" + n);
                expect("inserted", insert.executeUpdate(), 1);
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    keys.next();
                    expect("key", keys.getInt(1), 1 + n);
                }
            }
        }
    }

    static void transactions(Connection connection) throws SQLException {
        drop(connection, "jt_bank");
        run(connection, "create table jt_bank (id int primary key, amount int)");
        run(connection, "insert into jt_bank values (1, 100)");
        run(connection, "insert into jt_bank values (2, 0)");
        connection.setAutoCommit(false);
        try (PreparedStatement move = connection
                .prepareStatement("update jt_bank set amount = amount + ? where id = ?")) {
            for (int round = 0; round < 5; round++) {
                move.setInt(1, -10);
                move.setInt(2, 1);
                move.executeUpdate();
                move.setInt(1, 10);
                move.setInt(2, 2);
                move.executeUpdate();
                expect("inside", value(connection, "select sum(amount) from jt_bank"), 100);
                if (round % 2 == 0) {
                    connection.commit();
                } else {
                    connection.rollback();
                }
            }
        }
        expect("after", value(connection, "select amount from jt_bank where id = 2"), 30);
        connection.commit();
        run(connection, "update jt_bank set amount = 0");
        connection.rollback();
        connection.setAutoCommit(true);
        expect("rolled back", value(connection, "select amount from jt_bank where id = 2"), 30);
        run(connection, "begin transaction");
        run(connection, "update jt_bank set amount = 5 where id = 2");
        expect("in one of its own", value(connection, "select @@trancount"), 1);
        run(connection, "commit transaction");
        expect("committed", value(connection, "select amount from jt_bank where id = 2"), 5);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        expect("still here", value(connection, "select amount from jt_bank where id = 2"), 5);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    }

    static void procedures(Connection connection) throws SQLException {
        run(connection, "IF OBJECT_ID('jt_twice') IS NOT NULL DROP PROCEDURE jt_twice");
        run(connection, "create procedure jt_twice @n int, @twice int output, @s nvarchar(50) as"
                + " begin select @s as s, @n as n; set @twice = @n * 2; return 9; end");
        try (CallableStatement call = connection.prepareCall("{? = call jt_twice(?, ?, ?)}")) {
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, 21);
            call.registerOutParameter(3, Types.INTEGER);
            call.setString(4, "drei");
            try (ResultSet rows = call.executeQuery()) {
                rows.next();
                expect("its row", rows.getString("s"), "drei");
                expect("its row", rows.getInt("n"), 21);
            }
            while (call.getMoreResults() || call.getUpdateCount() != -1) {
            }
            expect("output", call.getInt(3), 42);
            expect("status", call.getInt(1), 9);
        }
    }

    static void errors(Connection connection) throws Exception {
        expectFailure(208, () -> value(connection, "select * from jt_nowhere"));
        drop(connection, "jt_errors");
        run(connection, "create table jt_errors (n int primary key)");
        run(connection, "insert into jt_errors values (1)");
        expectFailure(2627, () -> run(connection, "insert into jt_errors values (1)"));
        expectFailure(50000, () -> run(connection, "raiserror('ours', 16, 1)"));
        try (Statement statement = connection.createStatement()) {
            statement.execute("print 'hello'");
            expect("a message", statement.getWarnings().getMessage(), "hello");
        }
        expect("goes on", value(connection, "select 2"), 2);
    }

    static void large(Connection connection) throws SQLException {
        drop(connection, "jt_large");
        run(connection, "create table jt_large (n int, s varchar(200), x nvarchar(max), d datetime2)");
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection
                .prepareStatement("insert into jt_large values (?, ?, ?, ?)")) {
            for (int n = 0; n < 3000; n++) {
                insert.setInt(1, n);
                insert.setString(2, n % 3 == 0 ? null : text(n % 200));
                insert.setString(3, n % 5 == 0 ? null : text(n % 1000));
                insert.setString(4, n % 7 == 0 ? null : "2024-01-01 00:00:00.0000001");
                insert.addBatch();
            }
            insert.executeBatch();
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("select * from jt_large order by n")) {
            for (int n = 0; n < 3000; n++) {
                rows.next();
                expect("n", rows.getInt(1), n);
                expect("s of " + n, rows.getString(2), n % 3 == 0 ? null : text(n % 200));
                expect("x of " + n, rows.getString(3), n % 5 == 0 ? null : text(n % 1000));
                expect("d of " + n, rows.getString(4),
                        n % 7 == 0 ? null : "2024-01-01 00:00:00.0000001");
            }
            expect("end", rows.next(), false);
        }
    }

    static void severalResults(Connection connection) throws SQLException {
        drop(connection, "jt_several");
        run(connection, "create table jt_several (n int)");
        try (Statement statement = connection.createStatement()) {
            boolean isRows = statement.execute("insert into jt_several values (1), (2);"
                    + " select n from jt_several; update jt_several set n = 3;"
                    + " select 'x', cast('2020-01-01' as date)");
            List<String> results = new ArrayList<>();
            while (isRows || statement.getUpdateCount() != -1) {
                if (isRows) {
                    int count = 0;
                    try (ResultSet rows = statement.getResultSet()) {
                        while (rows.next()) {
                            count++;
                        }
                    }
                    results.add(count + " rows");
                } else {
                    results.add(statement.getUpdateCount() + " changed");
                }
                isRows = statement.getMoreResults();
            }
            expect("results", results.toString(), "[2 changed, 2 rows, 2 changed, 1 rows]");
        }
    }

    static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            new Timer(true).schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException failure) {
                        throw new IllegalStateException(failure);
                    }
                }
            }, 300);
            long began = System.nanoTime();
            try {
                statement.execute("waitfor delay '00:00:20'");
                throw new AssertionError("not cancelled");
            } catch (SQLException failure) {
                expect("state of " + failure.getMessage(), failure.getSQLState(), "HY008");
            }
            expect("at once", (System.nanoTime() - began) / 1_000_000_000L < 10, true);
        }
        expect("goes on", value(connection, "select 3"), 3);
    }

    static void timeout(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            try {
                statement.execute("waitfor delay '00:00:20'");
                throw new AssertionError("no time-out");
            } catch (SQLException failure) {
                expect("state of " + failure.getMessage(), failure.getSQLState(), "HYT00");
            }
        }
        expect("goes on", value(connection, "select 4"), 4);
    }

    static void cursors(Connection connection) throws SQLException {
        drop(connection, "jt_cursor");
        run(connection, "create table jt_cursor (n int primary key, s nvarchar(20))");
        for (int n = 0; n < 30; n++) {
            run(connection, "insert into jt_cursor values (" + n + ", 'row " + n + "')");
        }
        try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE,
                ResultSet.CONCUR_READ_ONLY)) {
            statement.setFetchSize(7);
            try (ResultSet rows = statement.executeQuery("select n, s from jt_cursor order by n")) {
                for (int n = 0; n < 30; n++) {
                    expect("a row", rows.next(), true);
                    expect("fetched", rows.getString(2), "row " + n);
                }
                expect("back", rows.absolute(5), true);
                expect("fetched", rows.getInt(1), 4);
            }
        }
    }

    static void crowd(int clients) throws Exception {
        try (Connection connection = connect("")) {
            drop(connection, "jt_crowd");
            run(connection, "create table jt_crowd (n int, d datetime2, x nvarchar(max))");
        }
        ExecutorService executor = Executors.newFixedThreadPool(clients);
        List<Future<Integer>> results = new ArrayList<>();
        for (int client = 0; client < clients; client++) {
            int number = client;
            results.add(executor.submit(() -> one(number)));
        }
        for (Future<Integer> result : results) {
            expect("rows of one", result.get(), 20);
        }
        executor.shutdown();
    }

    static int one(int number) throws SQLException {
        try (Connection connection = connect("")) {
            try (PreparedStatement insert = connection.prepareStatement(
                    "insert into jt_crowd values (?, '2024-05-06 07:08:09', ?)")) {
                for (int n = 0; n < 20; n++) {
                    connection.setAutoCommit(n % 4 != 0);
                    insert.setInt(1, number);
                    insert.setString(2, text(n * 10));
                    insert.executeUpdate();
                    if (n % 4 == 0) {
                        connection.commit();
                    }
                }
            }
            connection.setAutoCommit(true);
            int count = 0;
            try (PreparedStatement select = connection
                    .prepareStatement("select n, d, x from jt_crowd where n = ?")) {
                select.setInt(1, number);
                try (ResultSet rows = select.executeQuery()) {
                    while (rows.next()) {
                        expect("its own", rows.getInt(1), number);
                        expect("date", rows.getString(2), "2024-05-06 07:08:09.0000000");
                        count++;
                    }
                }
            }
            return count;
        }
    }
}
