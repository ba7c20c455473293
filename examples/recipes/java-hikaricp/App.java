import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import sun.misc.Signal;

/** The app around the recipe in its tests: reloads after HUP and after a webhook. */
public final class App {
    private static final String COUNT = "SELECT COUNT(*) FROM secretsync_items";
    private static RotatingDataSource credentials;
    private static HikariDataSource pool;

    public static void main(String[] args) throws Exception {
        // Before anything else: the JVM itself handles HUP, and exits, until the program has a handler.
        Semaphore hup = new Semaphore(0);
        Signal.handle(new Signal("HUP"), signal -> hup.release());

        credentials = new RotatingDataSource(jdbc(URI.create(env("APP_DATABASE"))), Path.of(env("APP_CREDENTIALS")));
        credentials.reload();
        HikariConfig config = new HikariConfig();
        config.setDataSource(credentials); // do not set a username: HikariCP would pass it on
        pool = new HikariDataSource(config);
        start(() -> reloadAtEvery(hup));
        serve(URI.create("http://" + env("APP_ADDR")));
    }

    /** Reloads after each signal. The sidecar does not learn of a failure, so this retries until it succeeds. */
    private static void reloadAtEvery(Semaphore hup) throws InterruptedException {
        for (;;) {
            hup.acquire();
            hup.drainPermits(); // a single reload suffices for several signals
            try {
                reload("SIGHUP");
            } catch (IOException | SQLException | RuntimeException e) {
                System.out.println("reload failed: " + e.getMessage());
                TimeUnit.SECONDS.sleep(1);
                hup.release();
            }
        }
    }

    private static void reload(String by) throws IOException, SQLException, InterruptedException {
        System.out.println("reload requested by " + by);
        if (credentials.reload()) System.out.println("new pool as " + credentials.user());
        String user = credentials.user();
        // Shorter than the webhook's timeout of 5 s, so the sidecar gets an answer and retries.
        if (!credentials.retire(pool, 4000)) throw new IllegalStateException("old connections are still in use");
        System.out.println("reloaded as " + user);
    }

    private static void query(Connection c) throws SQLException {
        try (var statement = c.createStatement(); var rows = statement.executeQuery(COUNT)) { rows.next(); }
    }

    private static void transaction(Connection c) throws SQLException, InterruptedException {
        c.setAutoCommit(false); // HikariCP restores it
        try (var statement = c.createStatement()) { statement.executeUpdate("INSERT INTO secretsync_done VALUES (1)"); }
        Thread.sleep(100);
        query(c);
        c.commit();
    }

    private static void answer(String request) throws Exception {
        switch (request) {
            case "GET /query": try (Connection c = pool.getConnection()) { query(c); } break;
            case "GET /transaction": try (Connection c = pool.getConnection()) { transaction(c); } break;
            case "GET /status": break;
            // Answers after the reload. The sidecar retries after any status other than 2xx.
            case "POST /-/reload": case "POST /actuator/refresh": reload("webhook"); break;
            default: throw new IllegalArgumentException(request);
        }
    }

    private static void serve(URI address) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // otherwise each answer takes 40 ms
        HttpServer server = HttpServer.create(new InetSocketAddress(address.getHost(), address.getPort()), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            int status = 200;
            try {
                answer(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath());
            } catch (Exception e) {
                System.out.println("failed: " + e);
                status = 500;
            }
            respond(exchange, status);
        });
        server.start();
    }

    private static void respond(HttpExchange exchange, int status) throws IOException {
        byte[] body = ("{\"user\":\"" + credentials.user() + "\"}").getBytes();
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private interface Task { void run() throws InterruptedException; }

    private static void start(Task task) {
        Thread thread = new Thread(() -> {
            try { task.run(); } catch (InterruptedException e) { Thread.currentThread().interrupt(); }
        });
        thread.setDaemon(true);
        thread.start();
    }

    /** Converts mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME, with parameters of the driver after a ?. */
    private static String jdbc(URI url) {
        String driver = url.getScheme().startsWith("postgres") ? "postgresql" : "mariadb";
        return "jdbc:" + driver + ":" + url.getSchemeSpecificPart();
    }

    private static String env(String name) {
        String value = System.getenv(name);
        if (value == null) throw new IllegalArgumentException(name + " is not set");
        return value;
    }
}
