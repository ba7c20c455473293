//go:build programs

package survival

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// tlsSecret is the Secret tls with a certificate of this serial number.
func tlsSecret(serial int64) *corev1.Secret {
	certificate, key := probe.Pair(serial)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": certificate, "tls.key": key},
	}
}

// served makes a request over a new TLS connection. The certificate must be serial; 0 accepts any.
func served(addr string, serial int64) error {
	steps := []probe.Step{probe.Certificate, probe.Send("GET / HTTP/1.0", ""), probe.Contains("HTTP/1.")}
	return probe.Talk(steps...)(probe.Place{Addr: addr}, serial)
}

// load makes connections until stop is called, which returns how many.
func load(t *testing.T, addr string) (stop func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var count atomic.Int64
	for range 4 {
		all.Go(func() {
			for tick := time.NewTicker(4 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				if err := served(addr, 0); err != nil {
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
func TestCertificate_nginx(t *testing.T) {
	t.Parallel()
	certificates(t, "nginx", "HUP", "", "start worker process", func(a *app, addr string) *podtest.Program {
		conf := a.write("nginx.conf", nginxConf(a, fmt.Sprintf(
			"listen %s ssl;\nssl_certificate %[2]s/tls/tls.crt;\n"+
				"ssl_certificate_key %[2]s/tls/tls.key;\nreturn 200 ok;", addr, a.Dir,
		)))
		return a.StartProgram(podtest.Need(t, "/usr/sbin/nginx"), "-p", a.dir, "-c", conf, "-e", "stderr")
	})
}

// The same with HAProxy and the configuration of examples/recipes/haproxy. Its master
// starts itself again on USR2.
func TestCertificate_haproxy(t *testing.T) {
	t.Parallel()
	certificates(t, "haproxy", "USR2", "tls/tls.crt+tls.key=bundle.pem", "Loading success",
		func(a *app, addr string) *podtest.Program {
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
	a := &app{Pod: p, dir: testsupport.MemoryDir(t)}
	a.pidFile = a.dir + "/pid"
	if _, err := a.Secrets().Create(t.Context(), tlsSecret(1), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	a.Start(nil).WaitReady()
	addr := childprocess.FreeAddr(t)
	g := start(a, addr)
	g.WaitReady(ready)
	stop := load(t, addr)
	var slowest time.Duration
	for serial := int64(2); serial <= 13; serial++ {
		began := time.Now()
		if _, err := a.Secrets().Update(t.Context(), tlsSecret(serial), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		testsupport.Eventually(t, "the new certificate", func() error { return served(addr, serial) })
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
		testsupport.Eventually(t, "the session sees it", func() error {
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
