package watcher

import (
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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

// TestSilentDeath: a connection on which nothing comes any more, without an end,
// is seen within 20 s; the snapshot stays what it was, and is right soon after
// there is a way again. Stopping does not wait for the dead connection. The
// line in the log is of a dead connection, not of an event that cannot be read,
// as which client-go passes it on.
func TestSilentDeath(t *testing.T) {
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

// TestSilentFromTheStart: a server that accepts and says nothing is seen within
// 20 s.
func TestSilentFromTheStart(t *testing.T) {
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

// TestNewAuthority: a certificate that is not trusted is said so, and the file
// of the CA is read again when it was replaced.
func TestNewAuthority(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	file := filepath.Join(t.TempDir(), "ca.crt")
	write := func(der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(otherAuthority(t))
	cfg := &rest.Config{Host: "https://" + a.Listener.Addr().String(), TLSClientConfig: rest.TLSClientConfig{CAFile: file}}
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "x509") || !strings.Contains(warn, "CA certificate") {
		t.Errorf("got %s", warn)
	}
	write(a.Certificate().Raw)
	r.has("db", "1", 15*time.Second)
}

// TestTokenIsReadAgain: after a 401 the next try has what the file has then.
func TestTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	unauthorized := status(401, "Unauthorized", "Unauthorized")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		return r.Header.Get("Authorization") != "Bearer new" && unauthorized(w, r)
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := a.config("")
	cfg.BearerToken, cfg.BearerTokenFile = "old", file
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.has("db", "1", 11*time.Second)
}

// TestClientCertificateIsReadAgain: the same of a kubeconfig's certificate.
func TestClientCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	unauthorized := status(401, "Unauthorized", "Unauthorized")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		peers := r.TLS.PeerCertificates
		return (len(peers) != 1 || peers[0].Subject.CommonName != "new") && unauthorized(w, r)
	})
	dir := t.TempDir()
	cfg := a.config("")
	cfg.BearerToken, cfg.CertFile, cfg.KeyFile = "", filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write := func(name string) {
		certificate, key := selfSigned(t, name)
		for path, block := range map[string]*pem.Block{
			cfg.CertFile: {Type: "CERTIFICATE", Bytes: certificate}, cfg.KeyFile: {Type: "PRIVATE KEY", Bytes: key},
		} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("old")
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	write("new")
	r.has("db", "1", 11*time.Second)
}

// TestConfigurationsOfPeople: what a kubeconfig can have besides certificates.
func TestConfigurationsOfPeople(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(cfg *rest.Config, a *api) (used func() bool){
		"a credential plugin": func(cfg *rest.Config, a *api) func() bool {
			cfg.BearerToken = ""
			cfg.ExecProvider = &clientcmdapi.ExecConfig{
				Command: "/bin/sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
				Args: []string{"-c", `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"of the plugin"}}'`},
			}
			return a.authorized("Bearer of the plugin")
		},
		"a user and a password": func(cfg *rest.Config, a *api) func() bool {
			cfg.BearerToken, cfg.Username, cfg.Password = "", "u", "p"
			return a.authorized("Basic " + base64.StdEncoding.EncodeToString([]byte("u:p")))
		},
		"a proxy": func(cfg *rest.Config, _ *api) func() bool {
			var asked atomic.Bool
			cfg.Proxy = func(*http.Request) (*url.URL, error) { asked.Store(true); return nil, nil }
			return asked.Load
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.put("db", "1", "", nil)
			cfg := a.config("")
			used := change(cfg, a)
			r := start(t, Options{Config: cfg, Names: []string{"db"}})
			r.has("db", "1", 5*time.Second)
			a.put("db", "2", "", nil)
			r.has("db", "2", 5*time.Second)
			if !used() {
				t.Error("it was not used")
			}
		})
	}
}

// authorized tells whether each request had this header, and there was one.
func (a *api) authorized(want string) func() bool {
	var right, wrong atomic.Bool
	a.fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == want {
			right.Store(true)
		} else {
			wrong.Store(true)
		}
		return false
	})
	return func() bool { return right.Load() && !wrong.Load() }
}

// TestManyOneConnection: watches that start together share a connection, up to
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
