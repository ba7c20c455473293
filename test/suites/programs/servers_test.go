//go:build programs

package programs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// tlsSecret is the Secret tls with a new certificate of this serial number.
func tlsSecret(t *testing.T, serial int64) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
			"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
}

// served makes a request over a new TLS connection and returns the serial number of the
// certificate.
func served(addr string) (int64, error) {
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config:    &tls.Config{InsecureSkipVerify: true}, // the test looks at the certificate
	}
	raw, err := dialer.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	conn := raw.(*tls.Conn)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return 0, err
	}
	if answer, err := io.ReadAll(conn); err != nil || len(answer) == 0 {
		return 0, fmt.Errorf("answer %q: %w", answer, err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// load makes connections until stop is called, which returns how many.
func load(t *testing.T, addr string) (stop func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var count atomic.Int64
	for range 4 {
		all.Go(func() {
			for tick := time.NewTicker(4 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				if _, err := served(addr); err != nil {
					t.Errorf("connection %d: %v", count.Load(), err)
					return
				}
				count.Add(1)
			}
		})
	}
	return func() int64 { cancel(); all.Wait(); return count.Load() }
}

// A certificate from the volume is swapped in nginx under a load of connections,
// none of which fails.
func TestNginxCertificate(t *testing.T) {
	t.Parallel()
	certificates(t, "nginx", "HUP", "", "start worker process", func(a *app, addr string) *podtest.Program {
		conf := a.write("nginx.conf", nginxConf(a, fmt.Sprintf(
			"listen %s ssl;\nssl_certificate %[2]s/tls/tls.crt;\nssl_certificate_key %[2]s/tls/tls.key;\nreturn 200 ok;",
			addr,
			a.Dir,
		)))
		return a.StartProgram(podtest.Need(t, "/usr/sbin/nginx"), "-p", a.dir, "-c", conf, "-e", "stderr")
	})
}

// The same with HAProxy and the configuration of examples/recipes/haproxy. Its master
// starts itself again on USR2.
func TestHAProxyCertificate(t *testing.T) {
	t.Parallel()
	certificates(t, "haproxy", "USR2", "tls/tls.crt+tls.key=bundle.pem:0600", "Loading success", func(a *app, addr string) *podtest.Program {
		text, err := os.ReadFile("../../../examples/recipes/haproxy/haproxy.cfg")
		if err != nil {
			t.Fatal(err)
		}
		conf := a.write(
			"haproxy.cfg",
			strings.NewReplacer("/secrets/", a.Dir+"/", "bind :8443", "bind "+addr).Replace(string(text)),
		)
		return a.StartProgram(podtest.Need(t, "/usr/sbin/haproxy"), "-W", "-db", "-f", conf)
	})
}

// certificates gives a program a new certificate again and again.
func certificates(t *testing.T, name, signal, items, ready string, start func(a *app, addr string) *podtest.Program) {
	t.Helper()
	p := podtest.New(
		t,
		st.Env{
			"SECRETSYNC_SECRETS":         "tls",
			"SECRETSYNC_PROCESS":         name,
			"SECRETSYNC_SIGNAL":          signal,
			"SECRETSYNC_ITEMS":           items,
			"SECRETSYNC_PROCESS_MIN_AGE": "1s",
		},
	)
	a := &app{Pod: p, dir: st.Volume(t)}
	a.pidFile = a.dir + "/pid"
	if _, err := a.Secrets().Create(t.Context(), tlsSecret(t, 1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	a.Start(nil).WaitReady()
	addr := st.FreeAddr(t)
	g := start(a, addr)
	g.WaitReady(ready)
	stop := load(t, addr)
	var slowest time.Duration
	for serial := int64(2); serial <= 13; serial++ {
		began := time.Now()
		if _, err := a.Secrets().Update(t.Context(), tlsSecret(t, serial), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		st.Until(t, "the new certificate", func() error {
			got, err := served(addr)
			if err == nil && got != serial {
				err = fmt.Errorf("certificate %d, want %d", got, serial)
			}
			return err
		})
		if serial > 2 { // the first certificate waits for the minimum age
			slowest = max(slowest, time.Since(began))
		}
	}
	t.Logf("%d connections, a new certificate within %v", stop(), slowest.Round(time.Millisecond))
	g.CheckNoneDied()
}

// TestPostgres_openSession: the postmaster reads its configuration again and forwards it to
// its backends, so an open session continues with every new value.
func TestPostgres_openSession(t *testing.T) {
	t.Parallel()
	var k kind
	for _, other := range kinds {
		if other.name == "postgres" {
			k = other
		}
	}
	a := newApp(t, k, false, "1s")
	g := a.begin(0)
	g.WaitReady(k.ready)
	conn, err := pgx.Connect(t.Context(), "postgres://app@127.0.0.1:"+a.port+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for range 10 {
		n := fmt.Sprint(a.MustRotate())
		st.Until(t, "the session sees it", func() error {
			var got string
			err := conn.QueryRow(t.Context(), "SHOW secretsync.n").Scan(&got)
			if err != nil {
				t.Fatal("the session ended: ", err)
			}
			if got != n {
				return fmt.Errorf("%s, want %s", got, n)
			}
			return nil
		})
	}
	g.CheckNoneDied()
}
