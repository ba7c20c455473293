package apifaults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// wire is a TCP proxy that can refuse, break, cut and stop to forward.
type wire struct {
	t       testing.TB
	address string
	target  string

	mu       sync.Mutex
	listener net.Listener // nil: refused
	open     map[net.Conn]bool
	frozen   chan struct{} // not nil: nothing is forwarded until it is closed
	most     int           // bytes that a new connection carries from the server, then it ends; 0: no end
}

// newWire makes a wire to the target, which is the real API server if empty.
func newWire(t testing.TB, target string) *wire {
	if target == "" {
		target = apiServer(t)
	}
	w := &wire{t: t, target: target, open: map[net.Conn]bool{}}
	w.listen()
	t.Cleanup(func() { w.thaw(); w.refuse() })
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

// listen accepts connections, again after refuse. The port is not one that the
// kernel gives to anybody who asks for any: nobody has it meanwhile.
func (w *wire) listen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		return
	}
	for again := w.address; ; {
		if again == "" {
			w.address = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		}
		l, err := net.Listen("tcp", w.address)
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

func (w *wire) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go w.serve(c)
	}
}

func (w *wire) serve(c net.Conn) {
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
func (w *wire) forward(to, from net.Conn, most int) {
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

// reset breaks all connections as a router does that forgot them.
func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// refuse ends all connections and accepts none; listen accepts again.
func (w *wire) refuse() {
	w.mu.Lock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	w.mu.Unlock()
	w.reset()
}

// freeze stops to forward, on all connections and on new ones, which are
// accepted: as a firewall does that drops packets.
func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen == nil {
		w.frozen = make(chan struct{})
	}
}

func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// cut resets all connections and ends each new one after that many bytes from
// the server; 0 stops that.
func (w *wire) cut(most int) {
	w.mu.Lock()
	w.most = most
	w.mu.Unlock()
	w.reset()
}

// patience is for how long an API server that is back may go unseen: the
// longest pause between two tries, and a little for the machine.
const patience = 11 * time.Second
