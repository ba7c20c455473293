package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestError_text: the text of an error is short, a single line, and quotes nothing that
// came from the connection.
func TestError_text(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{errors.New(`malformed HTTP response "` + canary + `"`), "not HTTP", canary},
		{errors.New("a\nb" + strings.Repeat("x", 1000)), "a b", "\n"},
	} {
		got := request{verb: VerbList, resource: "secrets"}.connectionFailed(c.err).Error()
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) || len(got) > 450 {
			t.Errorf("got %q, want %q in it and not %q", got, c.want, c.not)
		}
	}
}

// TestError_status: an error status is an *apierrors.StatusError, also if a proxy answers
// and the body is not a Status. The error omits such a body.
func TestError_status(t *testing.T) {
	const quoted = `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,` +
		`"message":"from the API server"}`
	for _, c := range []struct {
		code  int
		body  string
		want  string
		check func(error) bool
	}{
		{403, fmt.Sprintf(quoted, 403, "Forbidden"), "from the API server", apierrors.IsForbidden},
		{403, "<html>" + canary, "HTTP 403", apierrors.IsForbidden},
		{401, fmt.Sprintf(quoted, 401, "Unauthorized"), "from the API server", apierrors.IsUnauthorized},
		{404, fmt.Sprintf(quoted, 404, "NotFound"), "from the API server", apierrors.IsNotFound},
		{410, fmt.Sprintf(quoted, 410, "Expired"), "from the API server", apierrors.IsResourceExpired},
		{429, fmt.Sprintf(quoted, 429, "TooManyRequests"), "from the API server", apierrors.IsTooManyRequests},
		{502, "<html>" + canary, "HTTP 502", func(error) bool { return true }},
	} {
		err := answering(c.code, jsonType, []byte(c.body)).CreateEvent(t.Context(), "ns", []byte("{}"))
		if !c.check(err) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%d: got %v, want an error of this code with %q and without the body", c.code, err, c.want)
		}
	}
}

// TestError_retryAfter: the header and the details of a Status are both used.
func TestError_retryAfter(t *testing.T) {
	r := request{verb: VerbList, resource: "secrets"}
	answer := &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"7"}}, Body: http.NoBody}
	details := metav1.Status{Code: 429, Details: &metav1.StatusDetails{RetryAfterSeconds: 7}}
	for _, err := range []error{r.statusAnswer(answer), r.statusError(details)} {
		if got, ok := apierrors.SuggestsClientDelay(err); !ok || got != 7 {
			t.Errorf("got %d, %v, want 7", got, ok)
		}
	}
}

// TestError_cause: the cause follows from the type of the error, not from its text. A
// certificate whose name contains "token" is a TLS error. The failure of a credential plugin
// is an error of the credentials, although the error names no token.
func TestError_cause(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "token")}}
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	strict := httptest.NewUnstartedServer(http.NotFoundHandler())
	strict.Config.ErrorLog = log.New(io.Discard, "", 0)
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	strict.StartTLS()
	defer strict.Close()
	plugin := &clientcmdapi.ExecConfig{
		Command: "/bin/sh", Args: []string{"-c", "exit 1"},
		APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	insecure := rest.TLSClientConfig{Insecure: true}
	missing := filepath.Join(t.TempDir(), "token")
	for _, c := range []struct {
		name string
		cfg  rest.Config
		want string
	}{
		{"unknown authority", rest.Config{Host: secure.URL}, CauseTLS},
		{"wrong name", rest.Config{Host: secure.URL, TLSClientConfig: rest.TLSClientConfig{ServerName: "other-token"}},
			CauseTLS},
		{"HTTP instead of HTTPS", rest.Config{Host: "https://" + plain.Listener.Addr().String()}, CauseTLS},
		{"alert of the server", rest.Config{Host: strict.URL, TLSClientConfig: insecure}, CauseTLS},
		{"missing token", rest.Config{Host: secure.URL, TLSClientConfig: insecure, BearerTokenFile: missing},
			CauseCredentials},
		{"failing plugin", rest.Config{Host: secure.URL, TLSClientConfig: insecure, ExecProvider: plugin},
			CauseCredentials},
		{"refused", rest.Config{Host: "https://" + closedPort(t)}, CauseUnreachable},
	} {
		_, err := newClient(t, &c.cfg).Get(t.Context(), "/")
		var e *Error
		if !errors.As(err, &e) || e.Cause != c.want {
			t.Errorf("%s: got %+v, want cause %q", c.name, e, c.want)
		} else if outdated := c.want != CauseUnreachable; e.outdated() != outdated {
			t.Errorf("%s: outdated: got %v, want %v", c.name, e.outdated(), outdated)
		}
	}
}

// TestError_tooManyFiles: without a free descriptor, neither the network nor the mount of the
// token is the cause. The first request after a descriptor is free again succeeds.
func TestError_tooManyFiles(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	token, ca := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "ca.crt")
	write(t, token, []byte("token"))
	writePEM(t, ca, server.Certificate().Raw)
	for name, cfg := range map[string]rest.Config{
		"connection": {TLSClientConfig: rest.TLSClientConfig{Insecure: true}},
		"token file": {TLSClientConfig: rest.TLSClientConfig{Insecure: true}, BearerTokenFile: token},
		"CA file":    {TLSClientConfig: rest.TLSClientConfig{CAFile: ca}},
	} {
		cfg.Host = server.URL
		restore := noDescriptors(t)
		c, err := NewClient(&cfg)
		if err == nil {
			_, err = c.Get(t.Context(), "/")
		}
		restore()
		var e *Error
		if !errors.As(err, &e) || e.Cause != CauseTooManyFiles || !strings.Contains(e.Hint, "ulimit") {
			t.Fatalf("%s: got %+v, want the cause %q", name, e, CauseTooManyFiles)
		}
		if _, err := c.Get(t.Context(), "/"); !apierrors.IsNotFound(err) {
			t.Errorf("%s: later: got %v, want the answer of the server", name, err)
		}
		c.Close()
	}
}

// noDescriptors lowers the limit of open files below the number of open files.
func noDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 3, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

// TestError_hint: a redirect and a rejected method come from a proxy. A rejected token may have
// another audience.
func TestError_hint(t *testing.T) {
	for code, want := range map[int]string{302: "login page", 307: "login page", 405: "login page", 401: "audience",
		500: "log of the API server"} {
		var e *Error
		_, err := answering(code, "text/html", nil).Get(t.Context(), "/")
		if !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
			t.Errorf("%d: got %+v, want a hint with %q", code, e, want)
		}
	}
}

// TestError_deadline: the deadline of a request on an open connection is not an error of
// the network.
func TestError_deadline(t *testing.T) {
	e := request{}.connectionFailed(context.DeadlineExceeded)
	if !strings.Contains(e.Error(), "does not answer") {
		t.Errorf("got %v", e)
	}
	dial := request{}.connectionFailed(&net.OpError{Op: "dial", Err: context.DeadlineExceeded})
	if !strings.Contains(dial.Error(), "no connection") {
		t.Errorf("dial: got %v", dial)
	}
}

// closedPort returns an address without a listener.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// certificate returns a self-signed certificate.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePEM(t *testing.T, path string, der []byte) {
	t.Helper()
	write(t, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
