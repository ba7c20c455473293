//go:build kubelet

package kubelet

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/nodetest"
	"github.com/secret-sync/secret-sync/test/servers/controlplane"
)

// nginxAddr is the port in nginx.conf. The tests are not parallel, because they share it.
const nginxAddr = "127.0.0.1:8443"

// TestNginx_newCertificate: new connections receive the new certificate, and the master
// process stays the same.
func TestNginx_newCertificate(t *testing.T) {
	s := newNginx(t)
	certificate := func(n int64) map[string]string {
		crt, key := selfSigned(t, n)
		return map[string]string{"tls.crt": crt, "tls.key": key}
	}
	s.SetSecret("app-tls", certificate(1))
	s.Deploy(cases+"nginx", nil)
	shown := map[string]bool{}
	s.nextCertificate(shown)
	wait(6 * time.Second) // a process younger than 5 s is not signaled
	for n := int64(2); n <= 6; n++ {
		s.SetSecret("app-tls", certificate(n))
		if got := s.nextCertificate(shown).SerialNumber.Int64(); got != n {
			t.Errorf("nginx sends certificate %d, want %d", got, n)
		}
	}
	s.noRestart()
}

// TestCertManager_renewal: the controllers of cert-manager write the Secret and renew it.
func TestCertManager_renewal(t *testing.T) {
	s := newNginx(t)
	if *certManager == "" {
		t.Fatal("set the binary of test/tools/certmanager: -certmanager")
	}
	s.definitions("github.com/cert-manager/cert-manager")
	var log testsupport.Log
	cmd := exec.Command(*certManager)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	cmd.Stdout, cmd.Stderr = &log, &log
	controllers, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		controllers.Stop(5 * time.Second)
		if t.Failed() {
			t.Log(log.Tail(4000))
		}
	})
	manifest, err := os.ReadFile(cases + "nginx/certificate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(manifest, nil)
	s.Deploy(cases+"nginx", nil)
	shown := map[string]bool{}
	s.nextCertificate(shown)
	wait(6 * time.Second)
	for range 5 {
		s.renew()
		s.nextCertificate(shown)
	}
	s.noRestart()
}

func newNginx(t *testing.T) *scene {
	t.Helper()
	if cluster.Images.Nginx == "" {
		t.Fatal("set the nginx image on the node: -nginx")
	}
	nodetest.Until(t, "a free port", func() error {
		c, err := net.Dial("tcp", nginxAddr)
		if err != nil {
			return nil
		}
		return errors.Join(fmt.Errorf("another process listens on %s", nginxAddr), c.Close())
	})
	return newScene(t)
}

// nextCertificate waits until nginx sends a certificate for the first time and returns it. An
// old worker may still answer once.
func (s *scene) nextCertificate(shown map[string]bool) *x509.Certificate {
	s.Helper()
	var certificate *x509.Certificate
	took := nodetest.Until(s.T, "another certificate from nginx", func() error {
		c, err := tls.Dial("tcp", nginxAddr, &tls.Config{InsecureSkipVerify: true}) // self-signed
		if err != nil {
			return err
		}
		defer c.Close()
		if certificate = c.ConnectionState().PeerCertificates[0]; shown[certificate.SerialNumber.String()] {
			return fmt.Errorf("nginx sends an earlier certificate")
		}
		return nil
	})
	shown[certificate.SerialNumber.String()] = true
	s.Logf("certificate %x after %s", certificate.SerialNumber, took.Round(time.Millisecond))
	return certificate
}

func (s *scene) noRestart() {
	s.Helper()
	if n := s.Restarts("nginx"); n != 0 {
		s.Errorf("nginx restarted %d times", n)
	}
}

// definitions applies the resource definitions in a Go module.
func (s *scene) definitions(module string) {
	s.Helper()
	cmd := exec.Command("go", "list", "-m", "-json", module)
	cmd.Dir = "../../tools/certmanager"
	out, err := cmd.Output()
	var m struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	files, globErr := filepath.Glob(m.Dir + "/deploy/crds/*.yaml")
	if err != nil || globErr != nil || len(files) == 0 {
		s.Fatalf("%s: %v, %v, %d files", module, err, globErr, len(files))
	}
	for _, file := range files {
		manifest, err := os.ReadFile(file)
		if err != nil {
			s.Fatal(err)
		}
		if !strings.Contains(string(manifest), "kind: CustomResourceDefinition") {
			continue
		}
		if err := controlplane.Apply(s.Context(), cluster.Config, "", manifest, false); err != nil {
			s.Fatal(err)
		}
	}
	wait(2 * time.Second) // until the API server serves the definitions
}

// renew requests a new certificate, like `cmctl renew app`.
func (s *scene) renew() {
	s.Helper()
	client, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		s.Fatal(err)
	}
	resource := schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}
	certificates := client.Resource(resource).Namespace(s.Namespace)
	nodetest.Until(s.T, "the previous certificate", func() error {
		c, err := certificates.Get(s.Context(), "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(c.Object, "status", "conditions")
		if strings.Contains(fmt.Sprint(conditions), "type:Issuing") {
			return fmt.Errorf("the certificate is not issued yet: %v", conditions)
		}
		return err
	})
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Issuing","status":"True",`+
		`"reason":"ManuallyTriggered","lastTransitionTime":%q}]}}`,
		time.Now().UTC().Format(time.RFC3339))
	options := metav1.PatchOptions{}
	_, err = certificates.Patch(s.Context(), "app", types.MergePatchType, []byte(patch), options, "status")
	if err != nil {
		s.Fatal(err)
	}
}
