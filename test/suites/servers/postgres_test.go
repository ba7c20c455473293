//go:build programs

package servers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// serverTLS returns the Secret of the case postgres, and a pool with its certificate only.
func serverTLS(t *testing.T, serial int64) (*corev1.Secret, *x509.CertPool) {
	t.Helper()
	certificate, key := probe.Pair(serial)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		t.Fatal("no certificate")
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "server-tls"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": certificate, "tls.key": key},
	}, roots
}

// newPostgres returns the case postgres with an empty database and the Secret. It also
// returns the pool for the first certificate.
func newPostgres(t *testing.T) (*server, *x509.CertPool) {
	t.Helper()
	s := newServer(t, "postgres")
	s.args = append(s.args, "-D", s.initdb(), "-p", s.port, "-h127.0.0.1", "-k", s.dir, "-F")
	secret, roots := serverTLS(t, 1)
	s.create(secret)
	return s, roots
}

// initdb creates an empty database that belongs to the user of the server.
func (s *server) initdb() string {
	s.T.Helper()
	data := filepath.Join(s.dir, "data")
	cmd := exec.Command(podtest.Need(s.T, "/usr/lib/postgresql/*/bin/initdb"),
		"-D", data, "-U", "app", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	cmd.Dir = "/"
	podtest.AsUser(s.T, cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.T.Fatalf("initdb: %v\n%s", err, out)
	}
	return data
}

// connect opens a session with PostgreSQL and verifies the certificate of the server.
func (s *server) connect(roots *x509.CertPool) error {
	s.T.Helper()
	config, err := pgx.ParseConfig("postgres://app@127.0.0.1:" + s.port + "/postgres?sslmode=require")
	if err != nil {
		s.T.Fatal(err)
	}
	config.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	conn, err := pgx.ConnectConfig(s.T.Context(), config)
	if err == nil {
		err = conn.Close(s.T.Context())
	}
	return err
}

// TestPostgres_certificate rotates the certificate of the server ten times. Directly after each
// notification, a client must accept the new certificate, and a client that trusts only the
// old certificate must fail.
func TestPostgres_certificate(t *testing.T) {
	t.Parallel()
	s, old := newPostgres(t)
	s.startSidecar(nobody, nil)
	g := s.StartProgram(podtest.Need(t, "/usr/lib/postgresql/*/bin/postgres"), s.args...)
	g.WaitReady("ready to accept connections")
	if err := s.connect(old); err != nil {
		t.Fatal(err)
	}
	for serial := int64(2); serial <= 11; serial++ {
		secret, roots := serverTLS(t, serial)
		s.putAndWait(secret)
		if err := s.connect(roots); err != nil {
			t.Errorf("the new certificate %d: %v", serial, err)
		}
		var unknown x509.UnknownAuthorityError
		if err := s.connect(old); !errors.As(err, &unknown) {
			t.Errorf("the old certificate %d: got %v, want %T", serial-1, err, unknown)
		}
		old = roots
	}
	g.CheckNoneDied()
}

// TestPostgres_keyOfOthers: PostgreSQL must refuse the key with a looser mode, and the key of
// another user, so the settings of the case are necessary.
func TestPostgres_keyOfOthers(t *testing.T) {
	for _, test := range []struct {
		name, mode, want string
		user             *syscall.Credential
	}{
		{"mode", ":0640", "has group or world access", nobody},
		{"owner", ":0644", "must be owned by the database user or root", &syscall.Credential{Uid: 1000, Gid: 1000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, _ := newPostgres(t)
			items := strings.Replace(s.Env["SECRETSYNC_ITEMS"], ":0600", test.mode, 1)
			s.startSidecar(test.user, st.Env{"SECRETSYNC_ITEMS": items})
			g := s.StartProgram(podtest.Need(t, "/usr/lib/postgresql/*/bin/postgres"), s.args...)
			<-g.Done()
			if err := podtest.LogContains(g.Log, test.want); err != nil || g.ExitCode() == 0 {
				t.Errorf("exit code %d, %v", g.ExitCode(), err)
			}
		})
	}
}
