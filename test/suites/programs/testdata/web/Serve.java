import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;

/** PORT: an HTTP server without a signal handler. It reads the file VALUE at its start. */
public class Serve {
    private static volatile byte[] body;

    static void read() throws Exception {
        body = ("notified " + Files.readString(Path.of(System.getenv("VALUE"))) + "\n").getBytes();
    }

    public static void main(String[] args) throws Exception {
        read();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.createContext("/", exchange -> {
            byte[] response = body;
            exchange.sendResponseHeaders(200, response.length);
            exchange.getResponseBody().write(response);
            exchange.close();
        });
        server.start();
    }
}
