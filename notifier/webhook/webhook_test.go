package webhook

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

var someChanges = notifier.Changes{
	Generation: 7, Secrets: []string{"db"}, Added: []string{}, Changed: []string{"db/password"},
	Removed: []string{"db/old"},
}

func newWebhook(t *testing.T, url string, w Target) Target {
	t.Helper()
	if w.Timeout == 0 {
		w.Timeout = 20 * time.Second
	}
	if w.Method == "" {
		w.Method = "POST"
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if w.URL, err = ParseURL(url); err != nil {
		t.Fatal(err)
	}
	return w
}

// seen is a received request.
type seen struct {
	method, path, query, auth, kind, body string
}

// serve returns a server and a channel of its received requests. The server calls answer.
func serve(t *testing.T, answer http.HandlerFunc) (*httptest.Server, chan seen) {
	got := make(chan seen, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Content-Type"),
			string(body)}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server, got
}

func TestWebhook_call(t *testing.T) {
	server, got := serve(t, nil)
	server.Start()
	w := newWebhook(t, server.URL+"/reload?now=1", Target{})
	if err := w.Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	request := <-got
	body := request.body
	request.body = ""
	if want := (seen{"POST", "/reload", "now=1", "", "application/json", ""}); request != want {
		t.Errorf("got %+v, want %+v", request, want)
	}
	var changes map[string]any
	if err := json.Unmarshal([]byte(body), &changes); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"generation": 7.0, "secrets": []any{"db"}, "added": []any{}, "changed": []any{"db/password"},
		"removed": []any{"db/old"},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("body = %v, want %v", changes, want)
	}
}

func TestWebhook_methods(t *testing.T) {
	server, got := serve(t, nil)
	server.Start()
	for _, method := range []string{"PUT", "PATCH", "GET", "HEAD"} {
		if err := newWebhook(t, server.URL, Target{Method: method}).Notify(t.Context(), someChanges); err != nil {
			t.Fatal(err)
		}
		request := <-got
		if hasBody := method == "PUT" || method == "PATCH"; request.method != method ||
			(request.body != "") != hasBody {
			t.Errorf("%s: got %+v", method, request)
		}
	}
}

func TestWebhook_status(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 201: "", 202: "", 204: "", 299: "",
		300: "300", 301: "301", 302: "302", 304: "304", 307: "307", 308: "308",
		400: "400 Bad Request", 401: "401", 404: "404", 429: "429", 500: "500", 502: "502", 503: "503", 599: "599",
	} {
		server, got := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://user:hunter2@elsewhere.example/there?token=hunter2")
			w.WriteHeader(status)
		})
		server.Start()
		err := newWebhook(t, server.URL+"/x?token=hunter2", Target{}).Notify(t.Context(), someChanges)
		switch {
		case (err == nil) != (want == ""):
			t.Errorf("%d: error %v", status, err)
		case err != nil:
			testsupport.WantError(t, err, want, server.URL+"/x")
			if status/100 == 3 {
				testsupport.WantError(t, err, "https://elsewhere.example/there")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%d: the error contains a secret: %v", status, err)
			}
		}
		if len(got) != 1 {
			t.Errorf("%d: %d requests, want 1", status, len(got))
		}
	}
}

// TestWebhook_user: the user of the URL is sent as Basic authorization.
func TestWebhook_user(t *testing.T) {
	server, got := serve(t, nil)
	server.Start()
	url := strings.Replace(server.URL, "//", "//user:hunter2@", 1)
	if err := newWebhook(t, url, Target{}).Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	if got, want := (<-got).auth, "Basic dXNlcjpodW50ZXIy"; got != want {
		t.Errorf("Authorization = %q, want %q", got, want)
	}
}

// TestWebhook_followsNoRedirect: a followed redirect would be a second request.
func TestWebhook_followsNoRedirect(t *testing.T) {
	server, got := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
	})
	server.Start()
	testsupport.WantError(t, newWebhook(t, server.URL, Target{}).Notify(t.Context(), someChanges), "307", "/other")
	if len(got) != 1 {
		t.Errorf("%d requests, want 1", len(got))
	}
}

func TestWebhook_usesNoProxy(t *testing.T) {
	proxy, requests := serve(t, nil)
	proxy.Start()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	newWebhook(t, "http://secret-sync.invalid/", Target{}).Notify(t.Context(), someChanges)
	if len(requests) > 0 {
		t.Error("the request went to the proxy")
	}
	transport, err := newWebhook(t, "http://localhost/", Target{}).transport()
	if err != nil || transport.Proxy != nil { // net/http reads the environment once per process
		t.Errorf("the transport uses a proxy; %v", err)
	}
}

func TestWebhook_unixSocket(t *testing.T) {
	server, got := serve(t, nil)
	path := t.TempDir() + "/app.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	w := newWebhook(t, "unix://"+path+":/a/b?c=d", Target{})
	if err := w.Notify(t.Context(), someChanges); err != nil {
		t.Fatal(err)
	}
	if request := <-got; request.path != "/a/b" || request.query != "c=d" {
		t.Errorf("got %+v", request)
	}
	server.Close()
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), path+":/a/b", "no such file")
}

func TestWebhook_token(t *testing.T) {
	server, got := serve(t, nil)
	server.Start()
	path := t.TempDir() + "/token"
	w := newWebhook(t, server.URL, Target{TokenFile: path})
	testsupport.WantError(t, w.Notify(t.Context(), someChanges), "token file")
	for _, token := range []string{"first", "second\n"} { // the file is renewed between the calls
		write(t, path, token)
		if err := w.Notify(t.Context(), someChanges); err != nil {
			t.Fatal(err)
		}
		if got, want := (<-got).auth, "Bearer "+strings.TrimSpace(token); got != want {
			t.Errorf("Authorization = %q, want %q", got, want)
		}
	}
	for _, bad := range []string{"", "\n", "hunter2\nX-Evil: 1", "hunter2\x00"} {
		write(t, path, bad)
		err := w.Notify(t.Context(), someChanges)
		testsupport.WantError(t, err, "token file", path)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error contains the token: %v", err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
