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

/** The app around the recipe: both ways to be told, and what its test asks it. */
public final class App {
    private static final String COUNT = "SELECT COUNT(*) FROM secretsync_items";
    private static RotatingDataSource credentials;
    private static HikariDataSource pool;

    public static void main(String[] args) throws Exception {
        // First of all: a JVM looks as if it handled HUP, and ends by it until the program asks for it.
        Semaphore hup = new Semaphore(0);
        Signal.handle(new Signal("HUP"), signal -> hup.release());

        credentials = new RotatingDataSource(jdbc(URI.create(env("APP_DATABASE"))), Path.of(env("APP_CREDENTIALS")));
        credentials.reload();
        HikariConfig config = new HikariConfig();
        config.setDataSource(credentials); // and no username, or HikariCP gives that
        pool = new HikariDataSource(config);
        start(() -> reloadAtEvery(hup));
        serve(URI.create("http://" + env("APP_ADDR")));
    }

    /** A signal has no answer that would bring it again: so this tries until it works. */
    private static void reloadAtEvery(Semaphore hup) throws InterruptedException {
        for (;;) {
            hup.acquire();
            hup.drainPermits(); // several are one: it reads what is newest
            try {
                reload("SIGHUP");
            } catch (IOException | SQLException | RuntimeException e) {
                System.out.println("not reloaded: " + e.getMessage());
                TimeUnit.SECONDS.sleep(1);
                hup.release();
            }
        }
    }

    private static void reload(String by) throws IOException, SQLException, InterruptedException {
        System.out.println("reload requested by " + by);
        if (credentials.reload()) System.out.println("new pool as " + credentials.user());
        String user = credentials.user();
        // Below the webhook's 5 s, so that it is the app that answers, and then is asked again.
        if (!credentials.retire(pool, 4000)) throw new IllegalStateException("old connections are still in use");
        System.out.println("reloaded as " + user);
    }

    private static void query(Connection c) throws SQLException {
        try (var statement = c.createStatement(); var rows = statement.executeQuery(COUNT)) { rows.next(); }
    }

    private static void transaction(Connection c) throws SQLException, InterruptedException {
        c.setAutoCommit(false); // HikariCP puts it back
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
            // 2xx only when it is done: else the sidecar asks again.
            case "POST /-/reload": reload("webhook"); break;
            default: throw new IllegalArgumentException(request);
        }
    }

    private static void serve(URI address) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // else each answer takes 40 ms
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

    /** From mysql://HOST:PORT/NAME or postgres://HOST:PORT/NAME, with the driver's parameters after a ?. */
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
