//go:build kubelet

// Package kubelet has tests only: the Pods of the examples run on a real kubelet. It
// needs a cluster, and root on its only node:
//
//	go test -C examples -tags kubelet ./internal/tests/kubelet -v -timeout 1h \
//	  -kubeconfig FILE -sidecar secret-sync:1 -app reader:1 -nginx nginx:1 -certmanager BINARY -servers DIR
//
// The images are those of the Dockerfile and of internal/reader, on the node already.
// -servers is a folder with kube-apiserver.pid and kubelet.pid: these are killed and
// started again. Pods may be on the host's network: each gets ports of its own.
package kubelet

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	kubeconfig   = flag.String("kubeconfig", "", "the cluster")
	sidecarImage = flag.String("sidecar", "", "the image of secret-sync")
	appImage     = flag.String("app", "", "the image of internal/reader")
	nginxImage   = flag.String("nginx", "", "an image of nginx")
	certManager  = flag.String("certmanager", "", "the binary of internal/certmanager")
	servers      = flag.String("servers", "", "the folder with the servers' PID files")
	updates      = flag.Int("updates", 10, "how many updates TestSideBySide makes")
	picture      = flag.String("picture", "", "TestSideBySide writes its SVG here")

	config *rest.Config
	client *kubernetes.Clientset
)

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if config, err = clientcmd.BuildConfigFromFlags("", *kubeconfig); err == nil {
		config.QPS, config.Burst = 100, 100
		client, err = kubernetes.NewForConfig(config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is for what a kubelet does in seconds.
const patience = 90 * time.Second

// until calls f until it gives nil, and gives the time that it took.
func until(t *testing.T, what string, f func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := f()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		wait(20 * time.Millisecond)
	}
}

func wait(d time.Duration) { <-time.After(d) }

// answer is what the reader at this address has.
type answer struct {
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

func ask(addr string) (answer, error) {
	var a answer
	r, err := asker.Get("http://" + addr + "/")
	if err != nil {
		return a, err
	}
	defer r.Body.Close()
	return a, json.NewDecoder(r.Body).Decode(&a)
}
