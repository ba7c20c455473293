// Package nodetest runs the Pods of the examples on a real kubelet in tests. Each Pod
// uses the images of the test run and unique addresses, because Pods may be on the
// host's network. The package reports the values read by the app and the
// process of the app. It knows nothing about the tests.
package nodetest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// Images are the names of images already on the node.
type Images struct {
	Sidecar string // built from the Dockerfile
	App     string // built from test/tools/reader
	Nginx   string
}

// A Cluster has a single node: this machine.
type Cluster struct {
	Images Images
	Config *rest.Config
	Client *kubernetes.Clientset
}

// Connect connects c to the cluster of a kubeconfig.
func (c *Cluster) Connect(kubeconfig string) (err error) {
	if c.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	c.Config.QPS, c.Config.Burst = 100, 100
	c.Client, err = kubernetes.NewForConfig(c.Config)
	return err
}

// Patience is the time limit for an operation that a kubelet completes in seconds.
const Patience = 90 * time.Second

// Until polls check until it returns nil, and returns the elapsed time.
func Until(t *testing.T, condition string, check func() error) time.Duration {
	t.Helper()
	start := time.Now()
	testsupport.EventuallyWithin(t, Patience, condition, check)
	return time.Since(start)
}

// An Answer is the state of the reader (test/tools/reader) as it reports it.
type Answer struct {
	PID           int
	Start, Loaded map[string]string
	By            string
	Loads         int
	Seen          map[string][]struct {
		Password string
		At       time.Time
	}
	Now map[string]string
}

var readerClient = &http.Client{Timeout: time.Second}

// Ask returns the state of the reader at this address.
func Ask(addr string) (Answer, error) {
	var a Answer
	r, err := readerClient.Get("http://" + addr + "/")
	if err != nil {
		return a, err
	}
	defer r.Body.Close()
	return a, json.NewDecoder(r.Body).Decode(&a)
}
