import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.logging.Logger;
import javax.sql.DataSource;

/** Opens connections for HikariCP with credentials from files, and tracks the open connections. */
final class RotatingDataSource implements DataSource {
    record Credentials(String user, String password) {
        /** Resolves DIR/..data a single time, so both files come from the same generation. */
        static Credentials read(Path dir) throws IOException {
            Path generation = dir.resolve("..data").toRealPath();
            return new Credentials(Files.readString(generation.resolve("username")).strip(),
                    Files.readString(generation.resolve("password")).replaceFirst("[\r\n]+$", ""));
        }
        @Override public String toString() { return user; } // keeps the password out of logs
    }

    /** A connection. A Session exists before its connection opens, so retire misses none. */
    private static final class Session {
        final Credentials with;
        volatile Connection connection;
        Session(Credentials with) { this.with = with; }
        boolean closed() {
            try { return connection != null && connection.isClosed(); } catch (SQLException e) { return false; }
        }
    }

    private final String url;
    private final Path dir;
    private final Object reloading = new Object();
    private final Set<Session> sessions = ConcurrentHashMap.newKeySet();
    private volatile Credentials current;

    RotatingDataSource(String url, Path dir) { this.url = url; this.dir = dir; }

    /** Returns whether the credentials are new. If the new ones do not work, throws and keeps the old ones. */
    boolean reload() throws IOException, SQLException {
        synchronized (reloading) {
            Credentials next = Credentials.read(dir);
            if (next.equals(current)) return false;
            DriverManager.getConnection(url, next.user(), next.password()).close();
            synchronized (sessions) { current = next; } // later sessions use next; earlier ones are in the set
            return true;
        }
    }

    /**
     * Closes all connections with old credentials. Returns whether it succeeded in time. Eviction
     * closes idle connections. In this version of HikariCP, a connection in use returns to the pool
     * and stays until its next use, and eviction misses a connection that is opening. So this evicts
     * again, with growing pauses, because each eviction also closes idle connections with new
     * credentials.
     */
    boolean retire(HikariDataSource pool, long millis) throws InterruptedException {
        long end = System.nanoTime() + millis * 1_000_000;
        for (long pause = 50; old() && System.nanoTime() < end; pause *= 2) {
            pool.getHikariPoolMXBean().softEvictConnections();
            long next = Math.min(end, System.nanoTime() + pause * 1_000_000);
            while (old() && System.nanoTime() < next) Thread.sleep(10);
        }
        return !old();
    }

    private boolean old() {
        sessions.removeIf(Session::closed);
        return sessions.stream().anyMatch(s -> !s.with.equals(current));
    }

    String user() { return current.user(); }

    @Override public Connection getConnection() throws SQLException {
        Session session;
        sessions.removeIf(Session::closed);
        synchronized (sessions) { sessions.add(session = new Session(current)); }
        try {
            return session.connection = DriverManager.getConnection(url, session.with.user(), session.with.password());
        } finally {
            if (session.connection == null) sessions.remove(session);
        }
    }

    @Override public Connection getConnection(String user, String pass) throws SQLException { return getConnection(); }
    @Override public PrintWriter getLogWriter() { return null; }
    @Override public void setLogWriter(PrintWriter out) { }
    @Override public void setLoginTimeout(int seconds) { DriverManager.setLoginTimeout(seconds); }
    @Override public int getLoginTimeout() { return DriverManager.getLoginTimeout(); }
    @Override public Logger getParentLogger() { return Logger.getGlobal(); }
    @Override public <T> T unwrap(Class<T> type) throws SQLException { throw new SQLException("not a wrapper"); }
    @Override public boolean isWrapperFor(Class<?> type) { return false; }
}
