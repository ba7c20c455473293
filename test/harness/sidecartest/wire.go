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

// A Wire is a TCP proxy between a sidecar and the API server. A test can cut it without
// stopping the API server, which other tests use.
type Wire struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]bool
}

// Wire makes the sidecars of this scene connect to the API server through a new Wire.
// Any user can read their kubeconfig.
func (s *Scene) Wire() *Wire {
	s.T.Helper()
	listener, err := net.Listen("tcp", OwnAddr())
	if err != nil {
		s.T.Fatal(err)
	}
	w := &Wire{listener: listener, open: map[net.Conn]bool{}}
	s.T.Cleanup(w.Cut)
	go w.serve(listener)
	s.Env["KUBECONFIG"] = CopyKubeconfig(s.T, s.Kubeconfig, "https://"+listener.Addr().String())
	return w
}

var addrs atomic.Uint32

// OwnAddr returns an unused loopback address. The IP address is unique, not only the
// port: another process could take a free port.
func OwnAddr() string {
	pid, n := os.Getpid(), addrs.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:29808", 64+pid>>8&63, pid&255, 1+n%254)
}

// CopyKubeconfig writes a copy of a kubeconfig beside the binary, where other users can
// read it, and returns its path. The copy contains the token. If server is not "", the
// copy uses server.
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

// Cut closes all connections and refuses new connections.
func (w *Wire) Cut() {
	w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.open {
		c.Close()
	}
}

// Mend accepts connections again.
func (w *Wire) Mend() error {
	listener, err := net.Listen("tcp", w.listener.Addr().String())
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.cut = listener, false
	go w.serve(listener)
	return nil
}

// add registers an open connection. It reports false if the wire is cut.
func (w *Wire) add(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = !w.cut
	return !w.cut
}

func (w *Wire) serve(listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go w.join(c)
	}
}

// join copies in both directions until either side closes.
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
