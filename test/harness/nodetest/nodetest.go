// Package nodetest has the Pods of the examples run on a real kubelet in tests: with the
// images of that run, and at addresses of their own, as Pods may be on the host's
// network. It says what the app has read, and which process it is. It must not know what
// is tested.
package nodetest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Images are on the node already.
type Images struct {
	Sidecar string // of the Dockerfile
	App     string // of internal/reader
	Nginx   string
}

// Cluster has one node, on this machine.
type Cluster struct {
	Images Images
	Config *rest.Config
	Client *kubernetes.Clientset
}

// Connect uses the cluster of a kubeconfig.
func (c *Cluster) Connect(kubeconfig string) (err error) {
	if c.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	c.Config.QPS, c.Config.Burst = 100, 100
	c.Client, err = kubernetes.NewForConfig(c.Config)
	return err
}

// Patience is for what a kubelet does in seconds.
const Patience = 90 * time.Second

// Until calls f until it gives nil, and gives the time that it took.
func Until(t *testing.T, what string, f func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := f()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > Patience {
			t.Fatalf("%s: not within %s: %v", what, Patience, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Answer is what the reader at this address has.
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
	Env string
}

var asker = &http.Client{Timeout: time.Second}

// Ask asks the reader at this address.
func Ask(addr string) (Answer, error) {
	var a Answer
	r, err := asker.Get("http://" + addr + "/")
	if err != nil {
		return a, err
	}
	defer r.Body.Close()
	return a, json.NewDecoder(r.Body).Decode(&a)
}
