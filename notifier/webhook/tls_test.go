package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// caFile returns the path of a file with the certificate of a server.
func caFile(t *testing.T, server *httptest.Server) string {
	t.Helper()
	path := t.TempDir() + "/ca.crt"
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: server.Certificate().Raw})))
	return path
}

func TestWebhook_tls(t *testing.T) {
	server, got := serve(t, nil)
	server.StartTLS()
	ca := t.TempDir() + "/ca.crt"
	w := newWebhook(t, server.URL, Target{CAFile: ca})
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), "CA file", "no such file")
	write(t, ca, "not a certificate")
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), "no PEM certificate", ca)
	w.CAFile = caFile(t, server)
	if err := w.Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	<-got
	err := newWebhook(t, server.URL, Target{}).Notify(t.Context(), someChanges)
	testsupport.WantError(t, err, "certificate")
	if got := notifier.AsFailure(err).Kind; got != "certificate" {
		t.Errorf("kind = %q, which contains the time of day", got)
	}
}

// TestWebhookTLS_renewedCA: each call reads the CA file again.
func TestWebhookTLS_renewedCA(t *testing.T) {
	server, _ := serve(t, nil)
	server.StartTLS()
	path := t.TempDir() + "/ca.crt"
	w := newWebhook(t, server.URL, Target{CAFile: path})
	write(t, path, "not a certificate")
	if err := w.Notify(t.Context(), someChanges); err == nil {
		t.Error("a call with an invalid CA file succeeded")
	}
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: server.Certificate().Raw})))
	if err := w.Notify(t.Context(), someChanges); err != nil {
		t.Error(err)
	}
}

// TestWebhookTLS_version: the webhook rejects a server that offers only TLS 1.1.
func TestWebhookTLS_version(t *testing.T) {
	server, _ := serve(t, nil)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.StartTLS()
	w := newWebhook(t, server.URL, Target{CAFile: caFile(t, server)})
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), "protocol version")
}

// TestWebhookTLS_systemRoots: a CA file replaces the system roots. The test runs itself
// again with a system root that would verify the server.
func TestWebhookTLS_systemRoots(t *testing.T) {
	if os.Getenv("WEBHOOK_URL") == "" {
		server, _ := serve(t, nil)
		server.StartTLS()
		other := t.TempDir() + "/other.crt"
		write(t, other,
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: unrelatedCertificate(t)})))
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestWebhookTLS_systemRoots$")
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+caFile(t, server), "SSL_CERT_DIR=/nonexistent",
			"WEBHOOK_URL="+server.URL, "WEBHOOK_CA="+other)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := newWebhook(t, os.Getenv("WEBHOOK_URL"), Target{}).Notify(t.Context(), someChanges); err != nil {
		t.Errorf("without a CA file: %v", err)
	}
	err := newWebhook(t, os.Getenv("WEBHOOK_URL"), Target{CAFile: os.Getenv("WEBHOOK_CA")}).Notify(t.Context(),
		someChanges)
	testsupport.WantError(t, err, "certificate")
}

// unrelatedCertificate returns a self-signed certificate.
func unrelatedCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
