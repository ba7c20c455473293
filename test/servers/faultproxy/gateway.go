package faultproxy

import (
	"context"
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

// A Gateway is a proxy that terminates TLS with a CA of its own. It forwards requests to
// the real API server or answers them itself.
type Gateway struct {
	*httptest.Server
	CAFile string // the CA trusted by the sidecar
	up     http.RoundTripper

	mu     sync.Mutex
	cert   *tls.Certificate
	answer Answer        // nil: requests are forwarded
	ended  chan struct{} // closed to end the forwarded responses, and then replaced

	writes sync.Mutex // held while a part of a response is forwarded
}

// An Answer responds in place of the API server.
type Answer func(g *Gateway, w http.ResponseWriter, r *http.Request)

// NewGateway starts a gateway, which forwards everything.
func NewGateway(t testing.TB) *Gateway {
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
	g.TLS.Certificates = nil // httptest added a certificate of its own
	t.Cleanup(func() {
		g.EndAll()
		g.CloseClientConnections()
		g.Close()
	})
	return g
}

// NewCertificate replaces the certificate of the gateway and its CA.
func (g *Gateway) NewCertificate(t testing.TB) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour), // long enough for a soak test
		IsCA:         true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	g.mu.Unlock()
}

// Trust writes the current CA to the file in the kubeconfig.
func (g *Gateway) Trust(t testing.TB) {
	g.mu.Lock()
	der := g.cert.Certificate[0]
	g.mu.Unlock()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(g.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Address returns the HOST:PORT of the gateway.
func (g *Gateway) Address() string { return g.Listener.Addr().String() }

// SetAnswer makes the gateway answer with a and ends all forwarded responses. After
// SetAnswer(nil) the gateway forwards requests again.
func (g *Gateway) SetAnswer(a Answer) {
	g.mu.Lock()
	g.answer = a
	g.mu.Unlock()
	if a != nil {
		g.EndAll()
	}
}

// EndAll ends all watches cleanly, like a busy server. When it returns, nothing more of
// them is forwarded.
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
		a = (*Gateway).forward
	}
	a(g, w, r)
}

// forward sends the request to the API server. EndAll ends its response early but
// cleanly.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	resp, err := g.roundTrip(r)
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
			if !g.writePart(w, buf[:n], ended) || err != nil {
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

// writePart writes a part of a response. It reports false if EndAll ended the response.
func (g *Gateway) writePart(w http.ResponseWriter, part []byte, ended chan struct{}) bool {
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

// roundTrip sends the request to the API server. It repeats a failed read: the gateways share a connection, which
// may break on a busy machine, and a gateway must add no fault of its own.
func (g *Gateway) roundTrip(r *http.Request) (resp *http.Response, err error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme = "", "https"
	out.URL.Host = strings.TrimPrefix(st.ControlPlane().Config.Host, "https://")
	for range 5 {
		resp, err = g.up.RoundTrip(out)
		if err == nil || r.Method != http.MethodGet || r.Context().Err() != nil {
			break
		}
	}
	return resp, err
}

// Half answers a list with the first half of the API server's response, and ends every
// watch at once.
func Half(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("watch") {
		return
	}
	resp, err := g.roundTrip(r)
	if err != nil {
		http.Error(w, "no API server", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	_, _ = w.Write(body[:len(body)/2])
}

// Respond answers with a fixed text. retry is in seconds and used for 429 and 503.
func Respond(code int, contentType, text string, retry string) Answer {
	return func(_ *Gateway, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

// WatchesEnd forwards lists and ends every watch at once.
func WatchesEnd(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("watch") {
		g.forward(w, r)
	}
}

// WatchesEndAfter forwards lists, and ends every watch cleanly after some time.
func WatchesEndAfter(d time.Duration) Answer {
	return func(g *Gateway, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			r = r.WithContext(ctx)
		}
		g.forward(w, r)
	}
}

// WatchesSilent forwards lists, and opens every watch without ever sending an event.
func WatchesSilent(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("watch") {
		g.forward(w, r)
		return
	}
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	select {
	case <-ended:
	case <-r.Context().Done():
	}
}

// WatchesBuffered forwards lists. It forwards a watch when the API server has ended it.
func WatchesBuffered(g *Gateway, w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("watch") {
		g.forward(w, r)
		return
	}
	resp, err := g.roundTrip(r)
	if err != nil {
		http.Error(w, "no API server", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.(http.Flusher).Flush()
	body, _ := io.ReadAll(resp.Body)
	_, _ = w.Write(body)
}

// ListsDelayed forwards watches at once and lists after some time.
func ListsDelayed(d time.Duration) Answer {
	return func(g *Gateway, w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("watch") {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
		g.forward(w, r)
	}
}
