// Package faultproxy is the way from a sidecar to the real API server, in tests: two
// proxies on loopback, in which everything can go wrong that goes wrong on networks
// and in servers.
//
//	sidecar → Wire → Gateway → API server
//
// It promises that a fault begins and ends when the test says so, and that all else
// passes unchanged. It must not know what the sidecar does; what the sidecar should
// log of a fault stands beside the fault, in one table.
package faultproxy

import (
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Patience is for how long an API server that is back may go unseen: the longest
// pause between two tries, and a little for the machine.
const Patience = 11 * time.Second

// Route is both proxies. Faults of TCP are the Wire's, those of HTTP and TLS the
// Gateway's.
type Route struct {
	T       *testing.T
	Wire    *Wire
	Gateway *Gateway
}

// New makes a scene whose sidecars reach the API server through a Route.
func New(t *testing.T, env st.Env) (*st.Scene, *Route) {
	g := newGateway(t)
	r := &Route{T: t, Gateway: g, Wire: NewWire(t, g.address())}
	s := st.New(t, env)
	Detour(s, r.Wire.Address, g.CAFile)
	return s, r
}

// Detour makes the scene's sidecars go to another address; caFile is empty for
// the CA of the real API server.
func Detour(s *st.Scene, address, caFile string) {
	config, err := clientcmd.LoadFromFile(s.Kubeconfig)
	if err != nil {
		s.T.Fatal(err)
	}
	cluster := config.Clusters["c"]
	cluster.Server = "https://" + address
	if caFile != "" {
		cluster.CertificateAuthority, cluster.CertificateAuthorityData = caFile, nil
	}
	path := filepath.Join(s.T.(*testing.T).TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		s.T.Fatal(err)
	}
	s.Env["KUBECONFIG"] = path
}
