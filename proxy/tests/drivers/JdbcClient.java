// PostgreSQL's JDBC driver through the sidecar: any user, no password. Prints OK, or fails with
// what differed. Connection parameters come from the PG* variables.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class JdbcClient {
    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect()) {
            transactions(connection);
            serverPrepared(connection);
            batches(connection);
            cursors(connection);
            cancel(connection);
            queryTimeout(connection);
        }
        crowd(System.getenv("POOL_MODE").equals("session") ? 2 : 8);
        System.out.println("OK");
    }

    static Connection connect() throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("connectTimeout", "20");
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":"
                + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), properties);
    }

    static void expect(String what, Object found, Object wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError(what + ": " + found + ", expected " + wanted);
        }
    }

    static void expectFailure(String state, Callable<?> work) throws Exception {
        try {
            work.call();
        } catch (SQLException failure) {
            expect("SQLSTATE of " + failure.getMessage(), failure.getSQLState(), state);
            return;
        }
        throw new AssertionError("no failure with SQLSTATE " + state);
    }

    static int number(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getInt(1);
        }
    }

    static void transactions(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("create table jdbc_row (id int primary key, body text)");
            connection.setAutoCommit(false);
            statement.executeUpdate("insert into jdbc_row values (1, 'one')");
            connection.commit();
            statement.executeUpdate("insert into jdbc_row values (2, 'two')");
            expectFailure("23505", () -> statement.executeUpdate("insert into jdbc_row values (1, 'x')"));
            expectFailure("25P02", () -> statement.executeQuery("select 1"));
            connection.rollback();
            expect("rows after a rollback", number(connection, "select count(*) from jdbc_row"), 1);
            connection.setSavepoint("here");
            statement.executeUpdate("delete from jdbc_row");
            connection.rollback();
            expect("rows after another", number(connection, "select count(*) from jdbc_row"), 1);
            connection.commit();
            connection.setAutoCommit(true);
        }
    }

    // The driver names its statement on the server from the fifth execution on.
    static void serverPrepared(Connection connection) throws Exception {
        try (PreparedStatement add = connection.prepareStatement("select ? + 1");
                PreparedStatement join = connection.prepareStatement("select ? || 'x'")) {
            for (int n = 0; n < 20; n++) {
                add.setInt(1, n);
                join.setString(1, "s" + n);
                try (ResultSet rows = add.executeQuery()) {
                    rows.next();
                    expect("a sum", rows.getInt(1), n + 1);
                }
                try (ResultSet rows = join.executeQuery()) {
                    rows.next();
                    expect("a text", rows.getString(1), "s" + n + "x");
                }
            }
            // Prepared in one transaction, used in others.
            connection.setAutoCommit(false);
            for (int n = 0; n < 10; n++) {
                add.setInt(1, n);
                try (ResultSet rows = add.executeQuery()) {
                    rows.next();
                    expect("a sum in a transaction", rows.getInt(1), n + 1);
                }
                connection.commit();
            }
            connection.setAutoCommit(true);
        }
    }

    static void batches(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement insert =
                connection.prepareStatement("insert into jdbc_row values (?, ?)")) {
            for (int n = 1000; n < 4000; n++) {
                insert.setInt(1, n);
                insert.setString(2, "body of " + n);
                insert.addBatch();
            }
            expect("results of a batch", insert.executeBatch().length, 3000);
            connection.commit();
            insert.setInt(1, 1000);
            insert.setString(2, "again");
            insert.addBatch();
            expectFailure("23505", insert::executeBatch);
            connection.rollback();
        }
        connection.setAutoCommit(true);
        expect("rows of batches", number(connection, "select count(*) from jdbc_row"), 3001);
    }

    // With autocommit off and a fetch size, rows come through a portal, a part at a time.
    static void cursors(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("select n from generate_series(1, 1050) n")) {
                while (rows.next()) {
                    sum += rows.getInt(1);
                }
            }
            expect("the sum of a cursor", sum, 1050L * 1051 / 2);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Timer timer = new Timer(true);
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException failure) {
                        throw new AssertionError("cannot cancel", failure);
                    }
                }
            }, 500);
            expectFailure("57014", () -> statement.execute("select pg_sleep(60)"));
            timer.cancel();
        }
        expect("a query after a cancelled one", number(connection, "select 7"), 7);
    }

    static void queryTimeout(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            expectFailure("57014", () -> statement.execute("select pg_sleep(60)"));
        }
        expect("a query after a time-out", number(connection, "select 8"), 8);
    }

    static void crowd(int size) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(size);
        List<Future<?>> results = new ArrayList<>();
        for (int thread = 0; thread < size; thread++) {
            int number = thread;
            results.add(threads.submit(() -> {
                work(number);
                return null;
            }));
        }
        for (Future<?> result : results) {
            result.get();
        }
        threads.shutdown();
    }

    static void work(int number) throws SQLException {
        try (Connection connection = connect();
                PreparedStatement statement = connection.prepareStatement("select ? * 1000 + ?")) {
            connection.setAutoCommit(false);
            for (int step = 0; step < 30; step++) {
                statement.setInt(1, number);
                statement.setInt(2, step);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    expect("an answer in a crowd", rows.getInt(1), number * 1000 + step);
                }
                connection.commit();
            }
        }
    }
}
