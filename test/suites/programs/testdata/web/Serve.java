import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;

/** PORT: an HTTP server without a signal handler. It reads the file VALUE at its start. */
public class Serve {
    public static void main(String[] args) throws Exception {
        byte[] body = ("notified " + Files.readString(Path.of(System.getenv("VALUE"))) + "\n").getBytes();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
