//go:build kubelet

// Package kubelet contains only tests. They run the Pods of the examples on a real kubelet.
// They require a cluster with a single node, and root on the node:
//
//	go test -C test -tags kubelet ./suites/kubelet -v -timeout 1h \
//	  -kubeconfig FILE -sidecar secret-sync:1 -app reader:1 -nginx nginx:1 -certmanager BINARY -servers DIR
//
// The images must be on the node: secret-sync from the Dockerfile, reader from
// test/tools/reader. The directory of -servers contains kube-apiserver.pid and kubelet.pid;
// the tests kill and restart these processes. Pods may be on the host's network, so each Pod
// uses unique ports.
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
	certManager = flag.String("certmanager", "", "the binary of test/tools/certmanager")
	servers     = flag.String("servers", "", "the folder with the servers' PID files")
	updates     = flag.Int("updates", 10, "the number of updates in TestSideBySide_latency")
	picture     = flag.String("picture", "", "the SVG file of TestSideBySide_latency")
)

func TestMain(m *testing.M) {
	flag.StringVar(&cluster.Images.Sidecar, "sidecar", "", "the image of secret-sync")
	flag.StringVar(&cluster.Images.App, "app", "", "the image of test/tools/reader")
	flag.StringVar(&cluster.Images.Nginx, "nginx", "", "an image of nginx")
	flag.Parse()
	if err := cluster.Connect(*kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A scene is a namespace with a single workload and its Secret.
type scene struct{ *nodetest.Scene }

func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{cluster.Scene(t)}
}

func wait(d time.Duration) { <-time.After(d) }
