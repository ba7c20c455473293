/** PORT: Serve as a daemon of jsvc, which calls signal at USR2. */
public class Daemon {
    private String[] args;

    public void init(String[] args) {
        this.args = args;
    }

    public void start() throws Exception {
        Serve.main(args);
    }

    public void signal() throws Exception {
        Serve.read();
    }

    public void stop() {
    }

    public void destroy() {
    }
}
