package watcher

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestNetwork_refused: while the API server refuses connections, the Snapshot stays
// unchanged. A reset followed by refused connections is a single cause.
func TestNetwork_refused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	p.refuse()
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "connection refused") {
		t.Errorf("got %s", warn)
	}
	p.listen()
	r.waitValue("db", "1", 11*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })

	p.refuse()
	r.wait("down again", 5*time.Second, func() bool { return !r.up("secret/db") })
	attempts := p.connections()
	r.wait("more attempts", 15*time.Second,
		func() bool { return strings.Count(r.logs.String(), "connection refused") > 4 })
	if warns := r.logs.level("WARN"); len(warns) != 2 || p.connections() != attempts {
		t.Errorf("got %q, want a warning per outage", warns)
	}
	a.setSecret("db", "2", "", nil)
	if got := r.value("db"); got != "1" {
		t.Errorf("while refused: got %q, want the last good value", got)
	}
	start(t, Options{Config: a.config(p.address), Names: []string{"db"}}).stop()
	p.listen()
	r.waitValue("db", "2", 11*time.Second)
}

// TestNetwork_reset: after a reset connection, the Snapshot is current again with the
// first new list.
func TestNetwork_reset(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.waitValue("db", "1", 5*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	p.reset()
	a.setSecret("db", "2", "", nil)
	r.waitValue("db", "2", 11*time.Second)
	if warns := r.logs.level("WARN"); len(warns) != 1 || !strings.Contains(warns[0], "reset") {
		t.Errorf("got %q, want a single warning of the reset", warns)
	}
}

// TestNetwork_dead: an open but silent connection is detected within 20 s. The Snapshot
// stays unchanged meanwhile. Run returns without waiting for the connection. The log line
// names the connection; client-go reports an event that cannot be decoded.
func TestNetwork_dead(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	stopped := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.waitValue("db", "1", 5*time.Second)
	stopped.waitValue("db", "1", 5*time.Second)
	p.freeze()
	a.setSecret("db", "2", "", nil)
	stopped.stop()
	start(t, Options{Config: a.config(p.address), Names: []string{"db"}}).stop() // during a TLS handshake
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "no connection") {
		t.Errorf("got %s", warn)
	}
	if got := r.value("db"); got != "1" {
		t.Errorf("while dead: got %q, want the last good value", got)
	}
	p.reset()
	p.thaw()
	r.waitValue("db", "2", 11*time.Second)
}

// TestNetwork_deadAtStart: if a server accepts a connection and never answers, this is
// detected within 20 s.
func TestNetwork_deadAtStart(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := start(t, Options{Config: &rest.Config{Host: "https://" + l.Addr().String()}, Names: []string{"db"}})
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
}

// TestRun_closesHandshakes: a connection in a TLS handshake does not outlive Run.
func TestRun_closesHandshakes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := start(t, Options{Config: &rest.Config{Host: "https://" + l.Addr().String()}, Names: []string{"db"}})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil { // until the connection ends
		t.Errorf("the connection was not closed: %v", err)
	}
}

// TestList_hangs: a list without an answer, on a working connection, times out after
// 15 s. Run returns without waiting for the timeout.
func TestList_hangs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	a.fault(func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true })
	stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.wait("both lists received", 5*time.Second, func() bool { return len(a.received("list")) == 2 })
	stopped.stop()
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "does not answer") {
		t.Errorf("got %s", warn)
	}
	a.fault(nil)
	r.waitValue("db", "1", 11*time.Second)
}

// TestRun_sharedConnection: a hundred watches share a few connections. An API server
// allows 100 streams per connection.
func TestRun_sharedConnection(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var names []string
	for i := range 100 {
		name := "s" + strings.Repeat("x", i%7) + string(rune('a'+i/26)) + string(rune('a'+i%26))
		names = append(names, name)
		a.setSecret(name, "1", "", nil)
	}
	p := newProxy(t, a.Listener.Addr().String())
	began := time.Now()
	r := start(t, Options{Config: a.config(p.address), Names: names})
	r.wait("all", 10*time.Second, func() bool {
		return len(r.Snapshot().Secrets) == 100 &&
			len(r.Snapshot().Unsynced) == 0
	})
	t.Logf("a hundred Secrets in %v", time.Since(began))
	for _, name := range names {
		a.setSecret(name, "2", "", nil)
	}
	for _, name := range names {
		r.waitValue(name, "2", 10*time.Second)
	}
	if got := p.connections(); got > 4 {
		t.Errorf("got %d connections, want at most 4", got)
	}
}

// TestNetwork_http1: a server without HTTP/2.
func TestNetwork_http1(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	old := httptest.NewTLSServer(http.HandlerFunc(a.serve))
	defer old.Close()
	defer a.endWatches()
	r := start(t, Options{Config: a.config(old.Listener.Addr().String()), Names: []string{"db"}})
	r.waitValue("db", "1", 5*time.Second)
	a.setSecret("db", "2", "", nil)
	r.waitValue("db", "2", 5*time.Second)
	r.stop()
}
