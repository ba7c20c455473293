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

// TestNewAuthority: a certificate that is not trusted is logged, and the file
// of the CA is read again when it was replaced.
func TestNewAuthority(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("db", "1", "", nil)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writePEM(t, file, "CERTIFICATE", otherAuthority(t))
	cfg := &rest.Config{Host: "https://" + a.Listener.Addr().String(), TLSClientConfig: rest.TLSClientConfig{CAFile: file}}
	r := start(t, Options{Config: cfg, Names: []string{"db"}})
	r.wait("down", 5*time.Second, func() bool { return len(r.logs.level("WARN")) == 1 })
	if warn := r.logs.level("WARN")[0]; !strings.Contains(warn, "x509") || !strings.Contains(warn, "CA certificate") {
		t.Errorf("got %s", warn)
	}
	writePEM(t, file, "CERTIFICATE", a.Certificate().Raw)
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

// TestNewTokenForAll: what one watch finds out all of them get, those too that
// the server had not refused.
func TestNewTokenForAll(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("quiet", "1", "", nil)
	a.put("refused", "1", "", nil)
	var anew atomic.Bool
	unauthorized := status(401, "Unauthorized", "Unauthorized")
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		fresh := r.Header.Get("Authorization") == "Bearer new"
		if strings.Contains(r.URL.RawQuery, "quiet") {
			anew.Store(anew.Load() || fresh && isWatch(r))
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
	r.wait("one is up, one is down", 5*time.Second, func() bool { return r.up("secret/quiet") && len(r.logs.level("WARN")) == 1 })
	write("new")
	r.has("refused", "1", 11*time.Second)
	r.wait("the quiet watch started again", 5*time.Second, anew.Load)
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
		writePEM(t, cfg.CertFile, "CERTIFICATE", certificate)
		writePEM(t, cfg.KeyFile, "PRIVATE KEY", key)
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

// authorized reports whether each request had this header, and there was one.
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

// TestDisableHTTP2: the variable of client-go, for who has a proxy in between that
// breaks HTTP/2.
func TestDisableHTTP2(t *testing.T) {
	for value, want := range map[string]int32{"": 2, "true": 1} {
		t.Setenv("DISABLE_HTTP2", value)
		a := newAPI(t)
		a.put("db", "1", "", nil)
		var got atomic.Int32
		a.fault(func(_ http.ResponseWriter, r *http.Request) bool { got.Store(int32(r.ProtoMajor)); return false })
		start(t, Options{Config: a.config(""), Names: []string{"db"}}).has("db", "1", 5*time.Second)
		if got.Load() != want {
			t.Errorf("DISABLE_HTTP2=%q: got HTTP/%d, want %d", value, got.Load(), want)
		}
	}
}
