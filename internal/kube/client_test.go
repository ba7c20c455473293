package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// canary stands for a value; no log and no error may have it.
const canary = "CANARY-"

// TestKlogIsDisabled: what client-go logs, objects with values among it, goes nowhere.
func TestKlogIsDisabled(t *testing.T) {
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

// TestErrorTexts: what is logged of an error is short, one line, and nothing
// that was read from a connection.
func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{errors.New(`malformed HTTP response "` + canary + `"`), "not HTTP", canary},
		{errors.New("a\nb" + strings.Repeat("x", 1000)), "a b", "\n"},
		{errors.New("tls: failed to verify certificate: x509: unknown authority"), "x509", "\n"},
	} {
		got := request{verb: VerbList, resource: "secrets"}.failed(c.err).Error()
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) || len(got) > 450 {
			t.Errorf("got %q, want %q in it and not %q", got, c.want, c.not)
		}
	}
}

// TestCreateQuotesNoBody: an answer that is not the API server's may have anything in it.
func TestCreateQuotesNoBody(t *testing.T) {
	for _, answer := range []struct{ contentType, body, want string }{
		{"text/html", "<html>" + canary, "HTTP 502"},
		{"application/json", `{"kind":"Status","apiVersion":"v1","status":"Failure","code":502,"message":"its own words"}`, "its own words"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", answer.contentType)
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, answer.body)
		}))
		client, err := NewClient(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Create(t.Context(), "ns", "events", []byte("{}"))
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), answer.want) {
			t.Errorf("%s: got %v, want %q and nothing of the body", answer.contentType, err, answer.want)
		}
		client.Close()
		server.Close()
	}
}

// TestDialUntil: what is open is broken, what is being opened is given up,
// and nothing is opened after it.
func TestDialUntil(t *testing.T) {
	open, peer := net.Pipe()
	defer func() { _ = peer.Close() }()
	dialing := make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	dial := dialUntil(ctx, func(ctx context.Context, _, address string) (net.Conn, error) {
		if address == "slow" {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return open, nil
	})
	if _, err := dial(t.Context(), "tcp", "fast"); err != nil {
		t.Fatal(err)
	}
	slow := make(chan error)
	go func() { _, err := dial(context.Background(), "tcp", "slow"); slow <- err }()
	<-dialing
	end()
	if err := <-slow; err == nil {
		t.Error("a dial went on")
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the open connection: got %v, want EOF", err)
	}
	if _, err := dial(t.Context(), "tcp", "fast"); err == nil {
		t.Error("a connection was opened after the end")
	}
}
