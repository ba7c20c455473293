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

// TestRefused: no API server. From the start nothing is in the snapshot and the
// watch is unanswered; later the snapshot stays what it was.
func TestRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	p.refuse()
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "connection refused") {
		t.Errorf("got %s", warn)
	}
	p.listen()
	r.has("db", "1", 11*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })

	p.refuse()
	r.wait("down again", 5*time.Second, func() bool { return !r.up("secret/db") })
	tries := p.connections()
	r.wait("time for some tries", 15*time.Second, func() bool { return strings.Count(r.logs.String(), "connection refused") > 4 })
	if warns := r.logs.level("WARN"); len(warns) != 2 || p.connections() != tries {
		t.Errorf("got %q, want one warning for each time, broken and refused are one", warns)
	}
	a.put("db", "2", "", nil)
	if got := r.value("db"); got != "1" {
		t.Errorf("while refused: got %q, want the last good one", got)
	}
	start(t, Options{Config: a.config(p.address), Names: []string{"db"}}).stop()
	p.listen()
	r.has("db", "2", 11*time.Second)
}

// TestConnectionReset: the snapshot is right again with the first new list.
func TestConnectionReset(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.has("db", "1", 5*time.Second)
	r.wait("up", 5*time.Second, func() bool { return r.up("secret/db") })
	p.reset()
	a.put("db", "2", "", nil)
	r.has("db", "2", 11*time.Second)
	if warns := r.logs.level("WARN"); len(warns) != 1 || !strings.Contains(warns[0], "reset") {
		t.Errorf("got %q, want one warning of the reset", warns)
	}
}

// TestDeadConnection: a connection on which nothing comes any more, without an end,
// is seen within 20 s; the snapshot stays what it was, and is right soon after
// there is a way again. Stopping does not wait for the dead connection. The
// line in the log is of a dead connection, not of an event that cannot be read,
// as which client-go passes it on.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	p := newProxy(t, a.Listener.Addr().String())
	r := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	stopped := start(t, Options{Config: a.config(p.address), Names: []string{"db"}})
	r.has("db", "1", 5*time.Second)
	stopped.has("db", "1", 5*time.Second)
	p.freeze()
	a.put("db", "2", "", nil)
	stopped.stop()
	start(t, Options{Config: a.config(p.address), Names: []string{"db"}}).stop() // in a TLS handshake
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 && !r.up("secret/db") })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "no connection") {
		t.Errorf("got %s", warn)
	}
	if got := r.value("db"); got != "1" {
		t.Errorf("while dead: got %q, want the last good one", got)
	}
	p.reset()
	p.thaw()
	r.has("db", "2", 11*time.Second)
}

// TestNoAnswerFromTheStart: a server that accepts and answers nothing is seen within
// 20 s.
func TestNoAnswerFromTheStart(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := start(t, Options{Config: &rest.Config{Host: "https://" + l.Addr().String()}, Names: []string{"db"}})
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
}

// TestStopBreaksHandshakes: a connection that is not open yet, or not idle yet,
// does not outlive Run.
func TestStopBreaksHandshakes(t *testing.T) {
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
	if _, err := io.Copy(io.Discard, c); err != nil { // until it ends
		t.Errorf("the connection was not closed: %v", err)
	}
}

// TestHangingList: a list that gets no answer, on a connection that works, is
// given up after 15 s. Stopping does not wait for that.
func TestHangingList(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	a.fault(func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true })
	stopped := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r := start(t, Options{Config: a.config(""), Names: []string{"db"}})
	r.wait("asked", 5*time.Second, func() bool { return len(a.asked("list")) == 2 })
	stopped.stop()
	r.wait("down", 20*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "does not answer") {
		t.Errorf("got %s", warn)
	}
	a.fault(nil)
	r.has("db", "1", 11*time.Second)
}

// TestManyOneConnection: watches that start at once share a connection, up to
// the 100 streams that an API server allows on one.
func TestManyOneConnection(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var names []string
	for i := range 100 {
		name := "s" + strings.Repeat("x", i%7) + string(rune('a'+i/26)) + string(rune('a'+i%26))
		names = append(names, name)
		a.put(name, "1", "", nil)
	}
	p := newProxy(t, a.Listener.Addr().String())
	began := time.Now()
	r := start(t, Options{Config: a.config(p.address), Names: names})
	r.wait("all", 10*time.Second, func() bool { return len(r.Snapshot().Secrets) == 100 && len(r.Snapshot().Unanswered) == 0 })
	t.Logf("a hundred Secrets in %v", time.Since(began))
	for _, name := range names {
		a.put(name, "2", "", nil)
	}
	for _, name := range names {
		r.has(name, "2", 10*time.Second)
	}
	if got := p.connections(); got > 4 {
		t.Errorf("got %d connections, want few", got)
	}
}

// TestPlainHTTP1: a server that knows no HTTP/2.
func TestPlainHTTP1(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	old := httptest.NewTLSServer(http.HandlerFunc(a.serve))
	defer old.Close()
	defer a.endWatches()
	r := start(t, Options{Config: a.config(old.Listener.Addr().String()), Names: []string{"db"}})
	r.has("db", "1", 5*time.Second)
	a.put("db", "2", "", nil)
	r.has("db", "2", 5*time.Second)
	r.stop()
}
