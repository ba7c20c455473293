package kube

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// canary is part of every secret value. No log and no error may contain it.
const canary = "CANARY-"

// newClient returns a client of a test server, with cfg's other fields.
func newClient(t *testing.T, cfg *rest.Config) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestNewClient_klog: client-go logs whole objects, so its logs are discarded.
func TestNewClient_klog(t *testing.T) {
	newClient(t, &rest.Config{Host: "https://example.test"})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	klog.Errorf("%s", canary)
	klog.Background().Info(canary)
	utilruntime.HandleErrorWithContext(t.Context(), errors.New(canary), canary, "object", canary)
	klog.Flush()
	os.Stderr = stderr
	_ = w.Close()
	if got, _ := io.ReadAll(r); len(got) > 0 {
		t.Errorf("stderr: got %q, want nothing", got)
	}
}

// TestCreateEvent: the object arrives unchanged, and the configuration of the caller stays
// unchanged.
func TestCreateEvent(t *testing.T) {
	const object = `{"reason": "Published"}`
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(content)
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	cfg := &rest.Config{Host: server.URL}
	if err := newClient(t, cfg).CreateEvent(t.Context(), "ns", []byte(object)); err != nil {
		t.Fatal(err)
	}
	if want := "POST /api/v1/namespaces/ns/events application/json " + object; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if cfg.APIPath != "" || cfg.WrapTransport != nil || cfg.Dial != nil || cfg.QPS != 0 {
		t.Error("the configuration was modified")
	}
}

// TestRenew_newCA: the first request after the CA file was replaced uses the new file, also if
// the file was empty or invalid at startup.
func TestRenew_newCA(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, "other").Certificate[0]})
	for name, content := range map[string][]byte{"other CA": other, "empty": nil, "invalid": []byte("-----BEGIN")} {
		file := filepath.Join(t.TempDir(), "ca.crt")
		write(t, file, content)
		c := newClient(t, &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAFile: file}})
		var failed *Error
		if err := c.CreateEvent(t.Context(), "ns", []byte("{}")); !errors.As(err, &failed) || !failed.outdated() {
			t.Errorf("%s: got %v, want an error that new credentials may fix", name, err)
		}
		writePEM(t, file, server.Certificate().Raw)
		if _, err := c.Get(t.Context(), "/"); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s: got %v, want the answer of the server", name, err)
		}
	}
}

// TestSend_renew: after a 401, the next request uses the current token file, also if the file
// changed between the two. Another error does not renew the token, because client-go reads it
// again by itself.
func TestSend_renew(t *testing.T) {
	for code, want := range map[int]string{401: "Bearer new", 403: "Bearer old", 500: "Bearer old"} {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			w.WriteHeader(code)
		}))
		file := filepath.Join(t.TempDir(), "token")
		write(t, file, []byte("old"))
		c := newClient(t, &rest.Config{Host: server.URL, BearerTokenFile: file})
		_, _ = c.Get(t.Context(), "/") // reads the token
		write(t, file, []byte("new"))
		_, _ = c.Get(t.Context(), "/")
		server.Close()
		if got != want {
			t.Errorf("after %d: got %q, want %q", code, got, want)
		}
	}
}

// TestNewClient_invalidData: invalid data in a kubeconfig cannot become valid, so it is an
// error at once.
func TestNewClient_invalidData(t *testing.T) {
	cfg := &rest.Config{Host: "https://example.test",
		TLSClientConfig: rest.TLSClientConfig{CAData: []byte("-----BEGIN")}}
	if _, err := NewClient(cfg); err == nil || !strings.Contains(err.Error(), "https://example.test") {
		t.Errorf("got %v, want an error that names the server", err)
	}
}

// TestDialUntil: when the context ends, open connections break, dials end, and new dials
// fail.
func TestDialUntil(t *testing.T) {
	open, peer := net.Pipe()
	defer func() { _ = peer.Close() }()
	dialing := make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	dial := dialUntil(ctx, func(ctx context.Context, _, address string) (net.Conn, error) {
		if address == "slow" {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return open, nil
	})
	if _, err := dial(t.Context(), "tcp", "fast"); err != nil {
		t.Fatal(err)
	}
	slow := make(chan error)
	go func() { _, err := dial(context.Background(), "tcp", "slow"); slow <- err }()
	<-dialing
	end()
	if err := <-slow; err == nil {
		t.Error("the dial did not end")
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the open connection: got %v, want EOF", err)
	}
	if _, err := dial(t.Context(), "tcp", "fast"); err == nil {
		t.Error("a connection was opened after the end")
	}
}
