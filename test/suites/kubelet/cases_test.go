//go:build kubelet

package kubelet

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

const cases = "../../../examples/cases/"

// TestCases_rotations: in each case the app starts with the files, and loads each rotation in
// the way of the case.
func TestCases_rotations(t *testing.T) {
	for _, test := range []struct{ folder, by string }{
		{"signal", "signal"}, {"webhook", "webhook"}, {"other-uid", "webhook"}, {"shared", "signal"},
	} {
		t.Run(test.folder, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.SetSecret("tls", map[string]string{"tls.crt": "1"})
			s.SetPassword("0")
			s.Deploy(cases+test.folder, nil)
			took := nodetest.Until(
				t,
				"the start of the app",
				func() error { _, err := nodetest.Ask(s.Addresses["app"]); return err },
			)
			if a := s.Loaded("app", "0"); a.Start["username"] != "app" {
				t.Errorf("got %v at the start, want the files", a.Start)
			}
			pid, loads := s.Loaded("app", "0").PID, 0
			for i := 1; i <= 5; i++ {
				wait(time.Second)
				s.SetPassword(fmt.Sprint(i))
				a := s.Loaded("app", fmt.Sprint(i))
				if a.By != test.by || a.PID != pid {
					t.Errorf("rotation %d: loaded by %s as process %d, want by %s as %d", i, a.By, a.PID, test.by, pid)
				}
				loads = a.Loads
			}
			if test.folder == "shared" {
				if a := s.Loaded("worker", "5"); a.By != "signal" {
					t.Errorf("worker: loaded by %s, want signal", a.By)
				}
				s.follows("proxy", "/secrets/db", "5")
			}
			t.Logf("start %s; %d loads", took.Round(time.Millisecond), loads)
		})
	}
}

// follows waits until the container finds this password by watching a directory.
func (s *scene) follows(container, folder, password string) {
	s.Helper()
	nodetest.Until(s.T, container+" to read "+password, func() error {
		a, err := nodetest.Ask(s.Addresses[container])
		if err != nil {
			return err
		}
		if seen := a.Seen[folder]; len(seen) == 0 || seen[len(seen)-1].Password != password {
			return fmt.Errorf("got %v", seen)
		}
		return nil
	})
}

// TestFollowed_bindingRoot: the app watches the files, and a binding root contains nothing
// else.
func TestFollowed_bindingRoot(t *testing.T) {
	for _, folder := range []string{"files", "service-binding"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.SetPassword("0")
			s.Deploy(cases+folder, nil)
			for i := range 5 {
				s.SetPassword(fmt.Sprint(i))
				s.follows("app", "/secrets/db", fmt.Sprint(i))
			}
		})
	}
}

// TestOneShot_initContainer: a Job with an init container completes, and its app reads the
// files.
func TestOneShot_initContainer(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.Deploy(cases+"init", endsBySelf)
	s.SetPassword("0")
	s.completes()
}

// TestJob_nativeSidecar: a Job with the native sidecar completes when its other containers do.
func TestJob_nativeSidecar(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.SetPassword("0")
	s.Apply([]byte(job), endsBySelf)
	s.rbac()
	s.completes()
}

func endsBySelf(p *corev1.PodTemplateSpec) {
	nodetest.Set(&p.Spec.Containers[0], "READER_FOR", "2s")
}

func (s *scene) completes() {
	s.Helper()
	took := nodetest.Until(s.T, "the completion of the Job", func() error {
		j, err := cluster.Client.BatchV1().Jobs(s.Namespace).Get(s.Context(), "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if j.Status.Succeeded != 1 {
			return fmt.Errorf(
				"got %+v",
				batchv1.JobStatus{Active: j.Status.Active, Failed: j.Status.Failed, Conditions: j.Status.Conditions},
			)
		}
		return nil
	})
	s.Logf("the Job took %s", took.Round(100*time.Millisecond))
}

func selfSigned(t *testing.T, serial int64) (crt, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "app"}, DNSNames: []string{"app"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		var out bytes.Buffer
		if err := pem.Encode(&out, &pem.Block{Type: kind, Bytes: b}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}

// rbac applies the Role from `secret-sync rbac` for the Secret db.
func (s *scene) rbac() {
	s.Helper()
	s.Apply([]byte(strings.ReplaceAll(role, "NAMESPACE", s.Namespace)), nil)
}
