package watcher

import (
	"encoding/base64"
	"net/http"
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

// TestCredentials_newCA: an untrusted certificate is logged, and the CA file is read
// again after it was replaced.
func TestCredentials_newCA(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writePEM(t, file, "CERTIFICATE", otherAuthority(t))
	cfg := &rest.Config{Host: "https://" + a.Listener.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{CAFile: file}}
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "x509") || !strings.Contains(warn, "CA certificate") {
		t.Errorf("got %s", warn)
	}
	writePEM(t, file, "CERTIFICATE", a.Certificate().Raw)
	r.waitValue("db", "1", 15*time.Second)
}

// TestCredentials_newToken: after a 401, the next attempt uses the current token file.
func TestCredentials_newToken(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	unauthorized := errorAnswer(401, "Unauthorized", "Unauthorized")
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
	r.waitValue("db", "1", 11*time.Second)
}

// TestCredentials_allWatches: if a watch receives a 401 and finds a new token, all watches
// use the new token, also watches that the server did not reject.
func TestCredentials_allWatches(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("quiet", "1", "", nil)
	a.setSecret("refused", "1", "", nil)
	var restarted atomic.Bool
	unauthorized := errorAnswer(401, "Unauthorized", "Unauthorized")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		fresh := r.Header.Get("Authorization") == "Bearer new"
		if strings.Contains(r.URL.RawQuery, "quiet") {
			restarted.Store(restarted.Load() || fresh && isWatch(r))
			return false
		}
		return !fresh && unauthorized(w, r)
	})
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	cfg := a.config("")
	cfg.BearerToken, cfg.BearerTokenFile = "old", file
	r := start(t, Options{Config: cfg, Names: []string{"quiet", "refused"}})
	r.wait("quiet is up, refused is down", 5*time.Second,
		func() bool { return r.up("secret/quiet") && len(r.logs.level("WARN")) == 1 })
	write("new")
	r.waitValue("refused", "1", 11*time.Second)
	r.wait("the quiet watch started again", 5*time.Second, restarted.Load)
}

// TestCredentials_newClientCertificate: after a 401, the next attempt uses the current
// client certificate of a kubeconfig.
func TestCredentials_newClientCertificate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setSecret("db", "1", "", nil)
	unauthorized := errorAnswer(401, "Unauthorized", "Unauthorized")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		peers := r.TLS.PeerCertificates
		return (len(peers) != 1 || peers[0].Subject.CommonName != "new") && unauthorized(w, r)
	})
	dir := t.TempDir()
	cfg := a.config("")
	cfg.BearerToken, cfg.CertFile, cfg.KeyFile = "", filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write := func(name string) {
		certificate, key := selfSigned(t, name)
		writePEM(t, cfg.CertFile, "CERTIFICATE", certificate)
		writePEM(t, cfg.KeyFile, "PRIVATE KEY", key)
	}
	write("old")
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	write("new")
	r.waitValue("db", "1", 11*time.Second)
}

// TestCredentials_kubeconfig: the other kinds of credentials in a kubeconfig work, and so
// does a proxy.
func TestCredentials_kubeconfig(t *testing.T) {
	t.Parallel()
	const credential = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",` +
		`"status":{"token":"of the plugin"}}`
	for name, change := range map[string]func(cfg *rest.Config, a *api) (used func() bool){
		"credential plugin": func(cfg *rest.Config, a *api) func() bool {
			cfg.BearerToken = ""
			cfg.ExecProvider = &clientcmdapi.ExecConfig{
				Command: "/bin/sh", Args: []string{"-c", "echo '" + credential + "'"},
				APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
			}
			return a.authorized("Bearer of the plugin")
		},
		"basic authentication": func(cfg *rest.Config, a *api) func() bool {
			cfg.BearerToken, cfg.Username, cfg.Password = "", "u", "p"
			return a.authorized("Basic " + base64.StdEncoding.EncodeToString([]byte("u:p")))
		},
		"proxy": func(cfg *rest.Config, _ *api) func() bool {
			var asked atomic.Bool
			cfg.Proxy = func(*http.Request) (*url.URL, error) { asked.Store(true); return nil, nil }
			return asked.Load
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.setSecret("db", "1", "", nil)
			cfg := a.config("")
			used := change(cfg, a)
			r := start(t, Options{Config: cfg, Names: []string{"db"}})
			r.waitValue("db", "1", 5*time.Second)
			a.setSecret("db", "2", "", nil)
			r.waitValue("db", "2", 5*time.Second)
			if !used() {
				t.Error("the credentials were not used")
			}
		})
	}
}

// authorized returns a function that reports whether every request contained this
// Authorization header, and at least one request arrived.
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

// TestNetwork_disableHTTP2: DISABLE_HTTP2 works as in client-go, for proxies that break
// HTTP/2.
func TestNetwork_disableHTTP2(t *testing.T) {
	for value, want := range map[string]int32{"": 2, "true": 1} {
		t.Setenv("DISABLE_HTTP2", value)
		a := newAPI(t)
		a.setSecret("db", "1", "", nil)
		var got atomic.Int32
		a.fault(func(_ http.ResponseWriter, r *http.Request) bool { got.Store(int32(r.ProtoMajor)); return false })
		start(t, Options{Config: a.config(""), Names: []string{"db"}}).waitValue("db", "1", 5*time.Second)
		if got.Load() != want {
			t.Errorf("DISABLE_HTTP2=%q: got HTTP/%d, want %d", value, got.Load(), want)
		}
	}
}
