package watcher

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// TestSilence: what client-go logs, objects with values among it, goes nowhere.
func TestSilence(t *testing.T) {
	if _, err := NewClient(&rest.Config{Host: "https://example.test"}); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	klog.Errorf("%s", canary)
	klog.Background().Info(canary)
	utilruntime.HandleErrorWithContext(t.Context(), errors.New(canary), canary, "object", canary)
	klog.Flush()
	os.Stderr = stderr
	_ = w.Close()
	if got, _ := io.ReadAll(r); len(got) > 0 {
		t.Errorf("on stderr: got %q, want nothing", got)
	}
}

// TestCreate: the object arrives as it is, and the configuration that the client
// was made from stays what it was.
func TestCreate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const object = `{"reason": "Published"}`
	a.fault(func(w http.ResponseWriter, r *http.Request) bool {
		content, _ := io.ReadAll(r.Body)
		got := r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(content)
		if want := "POST /api/v1/namespaces/ns/events application/json " + object; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		reply(w, http.StatusCreated, corev1.Event{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}})
		return true
	})
	cfg := a.config("")
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Create(t.Context(), "ns", "events", []byte(object)); err != nil {
		t.Fatal(err)
	}
	if cfg.APIPath != "" || cfg.WrapTransport != nil || cfg.Dial != nil || cfg.QPS != 0 {
		t.Error("the configuration was modified")
	}
}

// TestCreateWithNewAuthority: the file of the CA is read again when it was
// replaced.
func TestCreateWithNewAuthority(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.fault(func(w http.ResponseWriter, _ *http.Request) bool {
		reply(w, http.StatusCreated, corev1.Event{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}})
		return true
	})
	file := filepath.Join(t.TempDir(), "ca.crt")
	writePEM(t, file, "CERTIFICATE", otherAuthority(t))
	client, err := NewClient(&rest.Config{Host: "https://" + a.Listener.Addr().String(), TLSClientConfig: rest.TLSClientConfig{CAFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Create(t.Context(), "ns", "events", []byte("{}")); err == nil {
		t.Fatal("a server of another CA was trusted")
	}
	writePEM(t, file, "CERTIFICATE", a.Certificate().Raw)
	_ = client.Create(t.Context(), "ns", "events", []byte("{}")) // which finds out
	if err := client.Create(t.Context(), "ns", "events", []byte("{}")); err != nil {
		t.Error(err)
	}
}

// TestFaultTexts: what is logged of an error is short, one line, and nothing
// that was read from a connection.
func TestFaultTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{errors.New(`malformed HTTP response "` + canary + `"`), "not HTTP", canary},
		{errors.New("a\nb" + strings.Repeat("x", 1000)), "a b", "\n"},
		{errors.New("tls: failed to verify certificate: x509: unknown authority"), "x509", "\n"},
	} {
		got := connectionFault(verbList, c.err).Error()
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) || len(got) > 450 {
			t.Errorf("got %q, want %q in it and not %q", got, c.want, c.not)
		}
	}
}

var discard = slog.New(slog.DiscardHandler)

// TestRetryAfterIsLimited: whatever a server asks for.
func TestRetryAfterIsLimited(t *testing.T) {
	var pause backoff
	l := &loop{health: newHealth(query{name: "db"}, discard, func() {})}
	got := l.judge(&turn{err: &fault{kind: "429", retryAfter: time.Hour}}, &pause)
	if got != backoffCap {
		t.Errorf("got %v, want %v", got, backoffCap)
	}
}

// TestDialerClose: what is open is broken, what is being opened is given up,
// and nothing is opened after it.
func TestDialerClose(t *testing.T) {
	open, peer := net.Pipe()
	defer func() { _ = peer.Close() }()
	dialing := make(chan struct{})
	d := newDialer(func(ctx context.Context, _, address string) (net.Conn, error) {
		if address == "slow" {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return open, nil
	})
	if _, err := d.dial(t.Context(), "tcp", "fast"); err != nil {
		t.Fatal(err)
	}
	slow := make(chan error)
	go func() { _, err := d.dial(context.Background(), "tcp", "slow"); slow <- err }()
	<-dialing
	d.close()
	d.close()
	if err := <-slow; err == nil {
		t.Error("a dial went on")
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the open connection: got %v, want EOF", err)
	}
	if _, err := d.dial(t.Context(), "tcp", "fast"); err == nil {
		t.Error("a connection was opened after the end")
	}
}
