package faultproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Gateway is a proxy that ends TLS, with a CA of its own, and passes requests on
// to the real API server, or answers in its place.
type Gateway struct {
	*httptest.Server
	CAFile string // has the CA that the sidecar trusts
	up     http.RoundTripper

	mu     sync.Mutex
	cert   *tls.Certificate
	answer Answer        // nil: requests are passed on
	ended  chan struct{} // closed and made anew to end what is passed on

	writes sync.Mutex // held while a part of an answer is passed on
}

// Answer answers in the place of the API server.
type Answer func(g *Gateway, w http.ResponseWriter, r *http.Request)

func newGateway(t testing.TB) *Gateway {
	config := rest.AnonymousClientConfig(st.ControlPlane().Config)
	up, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{up: up, ended: make(chan struct{}), CAFile: filepath.Join(t.TempDir(), "ca.crt")}
	g.Server = httptest.NewUnstartedServer(g)
	g.EnableHTTP2 = true
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.NewCertificate(t)
	g.Trust(t)
	g.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.cert, nil
	}}
	g.StartTLS()
	g.TLS.Certificates = nil // httptest has put in one of its own
	t.Cleanup(func() {
		g.EndAll()
		g.CloseClientConnections()
		g.Close()
	})
	return g
}

// NewCertificate gives the gateway a certificate of a new CA.
func (g *Gateway) NewCertificate(t testing.TB) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), // a soak may take long
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	g.mu.Unlock()
}

// Trust puts the CA of the certificate into the file that the kubeconfig names.
func (g *Gateway) Trust(t testing.TB) {
	g.mu.Lock()
	der := g.cert.Certificate[0]
	g.mu.Unlock()
	if err := os.WriteFile(g.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *Gateway) address() string { return g.Listener.Addr().String() }

// Say makes the gateway answer, and ends what is passed on; nil lets requests pass again.
func (g *Gateway) Say(a Answer) {
	g.mu.Lock()
	g.answer = a
	g.mu.Unlock()
	if a != nil {
		g.EndAll()
	}
}

// EndAll ends all watches in order, as a busy server does. Nothing of them is passed
// on after it.
func (g *Gateway) EndAll() {
	g.writes.Lock()
	defer g.writes.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ended)
	g.ended = make(chan struct{})
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	a := g.answer
	g.mu.Unlock()
	if a == nil {
		a = (*Gateway).pass
	}
	a(g, w, r)
}

// pass asks the API server. Its answer ends early, and in order, with EndAll.
func (g *Gateway) pass(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	resp, err := g.ask(r)
	if err != nil {
		http.Error(w, "no API server", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	w.(http.Flusher).Flush()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 32<<10)
		for {
			n, err := resp.Body.Read(buf)
			if !g.passOn(w, buf[:n], ended) || err != nil {
				return
			}
		}
	}()
	select {
	case <-copied:
	case <-ended:
		resp.Body.Close()
		<-copied
	}
}

// passOn writes a part of an answer, unless that has ended.
func (g *Gateway) passOn(w http.ResponseWriter, part []byte, ended chan struct{}) bool {
	g.writes.Lock()
	defer g.writes.Unlock()
	select {
	case <-ended:
		return false
	default:
	}
	_, _ = w.Write(part)
	w.(http.Flusher).Flush()
	return true
}

func (g *Gateway) ask(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "https", strings.TrimPrefix(st.ControlPlane().Config.Host, "https://")
	return g.up.RoundTrip(out)
}

// Half gives the first half of what the API server answers to a list, and ends
// a watch at once.
func Half(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("watch") {
		return
	}
	resp, err := g.ask(r)
	if err != nil {
		http.Error(w, "no API server", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	_, _ = w.Write(body[:len(body)/2])
}

// Says answers with a text; retry is in seconds, for 429 and 503.
func Says(code int, contentType, text string, retry string) Answer {
	return func(_ *Gateway, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

// WatchesEnd answers lists, and ends each watch at once.
func WatchesEnd(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("watch") {
		g.pass(w, r)
	}
}
