package childprocess

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Ports of FreeAddr lie below the ports that the kernel gives to clients and to listeners without a port.
const minPort, maxPort = 10_000, 32_000

// FreeAddr returns a loopback address on which nothing listens. Until the end of the test, FreeAddr returns the address
// to no other caller on this system.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range maxPort - minPort {
		port := minPort + rand.IntN(maxPort-minPort)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if lockPort(t, port) && isFree(addr) {
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// lockPort reports whether no other process or test uses the port, and keeps a lock on it until the end of the test.
func lockPort(t testing.TB, port int) bool {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("secret-sync-port-%d-%d", os.Geteuid(), port))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return false
	}
	t.Cleanup(func() {
		os.Remove(path)
		f.Close()
	})
	return true
}

func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	return true
}
