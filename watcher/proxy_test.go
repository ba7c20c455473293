package watcher

import (
	"net"
	"sync"
	"testing"
)

// A proxy is a TCP proxy. It can refuse, reset and freeze connections.
type proxy struct {
	t       *testing.T
	address string
	target  string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
	accepted int
	frozen   chan struct{} // if not nil, forwarding waits until it is closed
}

func newProxy(t *testing.T, target string) *proxy {
	p := &proxy{t: t, target: target, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	p.listen()
	t.Cleanup(func() { p.thaw(); p.refuse() })
	return p
}

func (p *proxy) listen() {
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.address, p.listener = l.Addr().String(), l
	p.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	p.accepted++
	p.open[c] = true
	p.mu.Unlock()
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = c.Close()
		return
	}
	go p.forward(up, c)
	p.forward(c, up)
	_ = up.Close()
}

func (p *proxy) forward(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			_ = to.Close()
			return
		}
	}
}

// connections returns the number of connections so far.
func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// reset resets all connections, as a router does after losing its state.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		delete(p.open, c)
	}
}

// refuse resets all connections and refuses new ones until listen.
func (p *proxy) refuse() {
	p.mu.Lock()
	_ = p.listener.Close()
	p.mu.Unlock()
	p.reset()
}

// freeze stops forwarding on all connections until thaw. The proxy still accepts new
// connections.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}
