package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A Wire is a TCP proxy that can refuse, reset, cut and freeze connections.
type Wire struct {
	t       testing.TB
	Address string // the address of the listener
	target  string

	mu       sync.Mutex
	listener net.Listener // nil: connections are refused
	open     map[net.Conn]bool
	frozen   chan struct{} // if not nil, nothing is forwarded until it is closed
	limit    int           // a connection ends after this many bytes from the server; 0: unlimited
}

// NewWire returns a Wire to target, or to the real API server if target is empty.
func NewWire(t testing.TB, target string) *Wire {
	if target == "" {
		target = apiServer(t)
	}
	w := &Wire{t: t, target: target, open: map[net.Conn]bool{}}
	w.Listen()
	t.Cleanup(func() { w.Thaw(); w.Refuse() })
	return w
}

// apiServer returns the host and port of the real API server.
func apiServer(t testing.TB) string {
	u, err := url.Parse(st.ControlPlane().Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Listen accepts connections, for example again after Refuse. It uses a port outside the
// range of ephemeral ports, so no other process gets the port in between.
func (w *Wire) Listen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		return
	}
	for previous := w.Address; ; {
		if previous == "" {
			w.Address = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		}
		l, err := net.Listen("tcp", w.Address)
		if err == nil {
			w.listener = l
			go w.accept(l)
			return
		}
		if previous != "" {
			w.t.Errorf("listen again: %v", err)
			return
		}
	}
}

func (w *Wire) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go w.serve(c)
	}
}

func (w *Wire) serve(c net.Conn) {
	defer c.Close()
	w.mu.Lock()
	w.open[c] = true
	limit := w.limit
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, c)
	}()
	up, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		defer up.Close()
		w.forward(up, c, 0)
	}()
	w.forward(c, up, limit)
}

// forward copies until either side closes, or until limit bytes; 0 means no limit.
func (w *Wire) forward(to, from net.Conn, limit int) {
	buf := make([]byte, 32<<10)
	for sent := 0; ; {
		n, err := from.Read(buf)
		w.mu.Lock()
		frozen := w.frozen
		w.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if limit > 0 {
			n = min(n, limit-sent)
		}
		sent += n
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil || (limit > 0 && sent == limit) {
			return
		}
	}
}

// Reset resets all connections, like a router that lost its state.
func (w *Wire) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// Refuse closes all connections and accepts no new connections until Listen.
func (w *Wire) Refuse() {
	w.mu.Lock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	w.mu.Unlock()
	w.Reset()
}

// Freeze stops forwarding on all connections, and on new connections after accepting
// them, like a firewall that drops packets.
func (w *Wire) Freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen == nil {
		w.frozen = make(chan struct{})
	}
}

// Thaw ends a Freeze.
func (w *Wire) Thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// Cut resets all connections. From then on, each new connection ends after limit bytes
// from the server; 0 means no limit.
func (w *Wire) Cut(limit int) {
	w.mu.Lock()
	w.limit = limit
	w.mu.Unlock()
	w.Reset()
}
