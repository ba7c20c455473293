// Package faultproxy connects a sidecar with the real API server in tests, through two
// proxies on loopback. They simulate the failures of networks and servers.
//
//	sidecar → Wire → Gateway → API server
//
// A fault begins and ends when the test says so. Everything else passes unchanged. The
// package does not know how the sidecar works, except for the table of faults, which
// lists the expected log text of each fault.
package faultproxy

import (
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Patience is the time limit for a sidecar to notice that the API server works again: the
// longest pause between two attempts, plus a margin for the machine.
const Patience = 11 * time.Second

// A Route consists of both proxies. The Wire simulates faults of TCP, the Gateway faults
// of HTTP and TLS.
type Route struct {
	T       *testing.T
	Wire    *Wire
	Gateway *Gateway
}

// New returns a scene whose sidecars reach the API server through the Route.
func New(t *testing.T, env st.Env) (*st.Scene, *Route) {
	g := NewGateway(t)
	r := &Route{T: t, Gateway: g, Wire: NewWire(t, g.Address())}
	s := st.New(t, env)
	Detour(s, r.Wire.Address, g.CAFile)
	return s, r
}

// Detour makes the scene's sidecars connect to another address. An empty caFile keeps the
// CA of the real API server.
func Detour(s *st.Scene, address, caFile string) {
	s.Env["KUBECONFIG"] = DetourFile(s.T.(*testing.T), s.Kubeconfig, address, caFile)
}

// DetourFile returns a copy of a kubeconfig with another address. See Detour.
func DetourFile(t *testing.T, kubeconfig, address, caFile string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cluster := config.Clusters["c"]
	cluster.Server = "https://" + address
	if caFile != "" {
		cluster.CertificateAuthority, cluster.CertificateAuthorityData = caFile, nil
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
