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

// Wire is a TCP proxy that can refuse, break, cut and stop to forward.
type Wire struct {
	t       testing.TB
	Address string // where it listens
	target  string

	mu       sync.Mutex
	listener net.Listener // nil: refused
	open     map[net.Conn]bool
	frozen   chan struct{} // not nil: nothing is forwarded until it is closed
	most     int           // bytes that a new connection carries from the server, then it ends; 0: no end
}

// NewWire makes a Wire to the target, which is the real API server if empty.
func NewWire(t testing.TB, target string) *Wire {
	if target == "" {
		target = apiServer(t)
	}
	w := &Wire{t: t, target: target, open: map[net.Conn]bool{}}
	w.Listen()
	t.Cleanup(func() { w.Thaw(); w.Refuse() })
	return w
}

// apiServer is the real one's host and port.
func apiServer(t testing.TB) string {
	u, err := url.Parse(st.ControlPlane().Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Listen accepts connections, again after Refuse. The port is not one that the
// kernel gives to anybody who asks for any: nobody has it meanwhile.
func (w *Wire) Listen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		return
	}
	for again := w.Address; ; {
		if again == "" {
			w.Address = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		}
		l, err := net.Listen("tcp", w.Address)
		if err == nil {
			w.listener = l
			go w.accept(l)
			return
		}
		if again != "" {
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
	most := w.most
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
	w.forward(c, up, most)
}

// forward copies until one end does; most is in bytes, 0 for no limit.
func (w *Wire) forward(to, from net.Conn, most int) {
	buf := make([]byte, 32<<10)
	for sent := 0; ; {
		n, err := from.Read(buf)
		w.mu.Lock()
		frozen := w.frozen
		w.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if most > 0 {
			n = min(n, most-sent)
		}
		sent += n
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil || (most > 0 && sent == most) {
			return
		}
	}
}

// Reset breaks all connections as a router does that forgot them.
func (w *Wire) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// Refuse ends all connections and accepts none; Listen accepts again.
func (w *Wire) Refuse() {
	w.mu.Lock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	w.mu.Unlock()
	w.Reset()
}

// Freeze stops to forward, on all connections and on new ones, which are
// accepted: as a firewall does that drops packets.
func (w *Wire) Freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen == nil {
		w.frozen = make(chan struct{})
	}
}

// Thaw ends that.
func (w *Wire) Thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// Cut resets all connections and ends each new one after that many bytes from
// the server; 0 stops that.
func (w *Wire) Cut(most int) {
	w.mu.Lock()
	w.most = most
	w.mu.Unlock()
	w.Reset()
}
