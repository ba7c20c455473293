package sidecartest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// Wire is the network between a sidecar and the API server, which a test can cut
// without an end of the API server that other tests use.
type Wire struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]bool
}

// Wire has the sidecars of this scene reach the API server over a wire. Any user can
// read their kubeconfig.
func (s *Scene) Wire() *Wire {
	s.T.Helper()
	listener, err := net.Listen("tcp", OwnAddr())
	if err != nil {
		s.T.Fatal(err)
	}
	w := &Wire{listener: listener, open: map[net.Conn]bool{}}
	s.T.Cleanup(w.Cut)
	go w.serve()
	s.Env["KUBECONFIG"] = CopyKubeconfig(s.T, s.Kubeconfig, "https://"+listener.Addr().String())
	return w
}

var addrs atomic.Uint32

// OwnAddr is a loopback address that nobody else uses: not the port alone, which another
// process may take while nobody listens, but the IP address is its own.
func OwnAddr() string {
	pid, n := os.Getpid(), addrs.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:29808", 64+pid>>8&63, pid&255, 1+n%254)
}

// CopyKubeconfig writes a kubeconfig, which is its owner's alone, with its token beside
// the binary, where other users can read it; and with another server, unless that is "".
func CopyKubeconfig(t testing.TB, from, server string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		token, err := os.ReadFile(user.TokenFile)
		if err != nil {
			t.Fatal(err)
		}
		user.Token, user.TokenFile = string(token), ""
	}
	for _, cluster := range config.Clusters {
		if server != "" {
			cluster.Server, cluster.TLSServerName = server, "127.0.0.1"
		}
	}
	path := filepath.Join(filepath.Dir(binary), filepath.Base(from)+".copy")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Cut ends all connections, and refuses new ones.
func (w *Wire) Cut() {
	w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.open {
		c.Close()
	}
}

// add notes an open connection; a wire that is cut takes none.
func (w *Wire) add(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = !w.cut
	return !w.cut
}

func (w *Wire) serve() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		go w.join(c)
	}
}

// join copies both ways until one side ends.
func (w *Wire) join(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", strings.TrimPrefix(plane.Config.Host, "https://"))
	if err != nil {
		return
	}
	defer far.Close()
	if !w.add(near) || !w.add(far) {
		return
	}
	go func() { defer far.Close(); io.Copy(far, near) }()
	io.Copy(near, far)
}
