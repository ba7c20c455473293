package childprocess

import (
	"net"
	"testing"
)

func TestFreeAddr(t *testing.T) {
	l, err := net.Listen("tcp", FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestFreeAddr_differs(t *testing.T) {
	seen := map[string]bool{}
	for range 500 { // of 22,000 ports: without a lock, about 6 would repeat
		addr := FreeAddr(t)
		if seen[addr] {
			t.Fatal(addr, "is returned twice")
		}
		seen[addr] = true
	}
}
