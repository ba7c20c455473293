//go:build programs

package mesh

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// user is the user of the sidecar. Its connections are redirected. The connections of the
// proxy are not, like the connections of Istio's UID 1337.
var user = &syscall.Credential{Uid: 65532, Gid: 65532}

// redirect sends all outbound TCP connections of the sidecar to the address of the proxy,
// except connections to the excluded ports.
func redirect(t *testing.T, proxy string, excluded ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	var exclude string
	if len(excluded) > 0 {
		exclude = fmt.Sprintf("tcp dport { %s } accept", strings.Join(excluded, ", "))
	}
	nft(t, fmt.Sprintf(`table ip mesh {
		chain output {
			type nat hook output priority -100
			meta skuid != %d accept
			%s
			meta l4proto tcp redirect to :%s
		}
	}`, user.Uid, exclude, port))
	t.Cleanup(func() { nft(t, "delete table ip mesh") })
}

// nft runs commands of nftables. It skips the test if the kernel does not support them.
func nft(t *testing.T, commands string) {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		t.Fatal("this test requires nft: apt-get install -y --no-install-recommends nftables")
	}
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "Operation not supported") {
		t.Skipf("this kernel cannot redirect connections: %s", out)
	}
	if err != nil {
		t.Fatalf("nft: %v\n%s\n%s", err, out, commands)
	}
}

// startProxy starts a proxy that forwards each connection to its original destination. It
// returns the number of forwarded connections.
func startProxy(t *testing.T, address string) *atomic.Int64 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	forwarded := new(atomic.Int64)
	go func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			forwarded.Add(1)
			go forward(down.(*net.TCPConn))
		}
	}()
	return forwarded
}

// forward copies both directions until one of them ends.
func forward(down *net.TCPConn) {
	defer down.Close()
	destination, err := originalDestination(down)
	if err != nil {
		return
	}
	up, err := net.Dial("tcp", destination.String())
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		defer down.Close()
		_, _ = io.Copy(down, up)
	}()
	_, _ = io.Copy(up, down)
}

// originalDestination returns the address to which the client connected (SO_ORIGINAL_DST).
func originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var address *unix.IPv6Mreq // the same size as sockaddr_in
	var failure error
	err = raw.Control(func(fd uintptr) {
		address, failure = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
	})
	if err != nil || failure != nil {
		return netip.AddrPort{}, fmt.Errorf("read the original destination: %w %w", err, failure)
	}
	b := address.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// apiPort returns the port of the API server.
func apiPort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(st.ControlPlane().Config.Host, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
