//go:build kubelet

// Package kubelet has tests only: the Pods of the examples run on a real kubelet. It
// needs a cluster, and root on its only node:
//
//	go test -C test -tags kubelet ./suites/kubelet -v -timeout 1h \
//	  -kubeconfig FILE -sidecar secret-sync:1 -app reader:1 -nginx nginx:1 -certmanager BINARY -servers DIR
//
// The images are those of the Dockerfile and of internal/reader, on the node already.
// -servers is a folder with kube-apiserver.pid and kubelet.pid: these are killed and
// started again. Pods may be on the host's network: each gets ports of its own.
package kubelet

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

var (
	cluster     nodetest.Cluster
	kubeconfig  = flag.String("kubeconfig", "", "the cluster")
	certManager = flag.String("certmanager", "", "the binary of internal/certmanager")
	servers     = flag.String("servers", "", "the folder with the servers' PID files")
	updates     = flag.Int("updates", 10, "how many updates TestSideBySide makes")
	picture     = flag.String("picture", "", "TestSideBySide writes its SVG here")
)

func TestMain(m *testing.M) {
	flag.StringVar(&cluster.Images.Sidecar, "sidecar", "", "the image of secret-sync")
	flag.StringVar(&cluster.Images.App, "app", "", "the image of internal/reader")
	flag.StringVar(&cluster.Images.Nginx, "nginx", "", "an image of nginx")
	flag.Parse()
	if err := cluster.Connect(*kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// scene is a namespace with one workload and its Secret.
type scene struct{ *nodetest.Scene }

func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{cluster.Scene(t)}
}

func wait(d time.Duration) { <-time.After(d) }
