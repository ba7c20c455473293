package watcher

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/secret-sync/secret-sync/internal/kube"
)

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
	client, err := kube.NewClient(cfg)
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
	client, err := kube.NewClient(&rest.Config{Host: "https://" + a.Listener.Addr().String(), TLSClientConfig: rest.TLSClientConfig{CAFile: file}})
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
