package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

const jsonType = "application/json"

// A thing is an object for tests.
type thing struct {
	TypeMeta
	Data map[string][]byte `json:"data"`
}

// answering returns a client whose requests all receive the same answer.
func answering(code int, contentType string, body []byte) *Client {
	return streaming(code, contentType, io.NopCloser(bytes.NewReader(body)))
}

func streaming(code int, contentType string, body io.ReadCloser) *Client {
	server := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)),
			Header: http.Header{"Content-Type": {contentType}}, Body: body,
		}, nil
	})
	return &Client{
		config: &rest.Config{}, server: &url.URL{Scheme: "https", Host: "example.test"},
		transport: server, close: func() {},
	}
}

var secrets = Query{Resource: Secrets, Namespace: "ns", Name: "db", ListTimeout: time.Minute}

// readList returns the objects of a list.
func readList(c *Client, q Query) (items []thing, version string, err error) {
	version, err = List(context.Background(), c, q, func(item thing) { items = append(items, item) })
	return items, version, err
}

// readEvents reads a watch until it ends.
func readEvents(c *Client) (types []watch.EventType, err error) {
	all, err := Watch[thing](context.Background(), c, secrets, "7")
	if err != nil {
		return nil, err
	}
	for e, err := range all {
		if err != nil {
			return types, err
		}
		types = append(types, e.Type)
	}
	return types, nil
}

// TestResource_group: the path of a resource and the type of its objects contain the group and the version.
func TestResource_group(t *testing.T) {
	deployments := Resource{schema.GroupVersion{Group: "apps", Version: "v1"}.WithResource("deployments"), "Deployment"}
	for path, got := range map[string]string{
		"/apis/apps/v1/namespaces/ns/deployments/app": deployments.Path("ns", "app"),
		"/api/v1/namespaces/ns/secrets":               Secrets.Path("ns"),
	} {
		if got != path {
			t.Errorf("got %s, want %s", got, path)
		}
	}
	if !(TypeMeta{"apps/v1", "Deployment"}).Is(deployments) || (TypeMeta{"v1", "Deployment"}).Is(deployments) ||
		(TypeMeta{"apps/v1", "Pod"}).Is(deployments) {
		t.Error("the type of a Deployment is not apps/v1 Deployment alone")
	}
}

// TestWatch: every JSON object is an event. An incomplete object at the end of the body
// ends the watch without an error.
func TestWatch(t *testing.T) {
	const secret = `"object":{"kind":"Secret","apiVersion":"v1"}}` + "\n"
	const expired = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,` +
		`"message":"too old"}}` + "\n"
	const wrongField = `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","data":1}}` + "\n"
	const added = `{"type":"ADDED",` + secret
	all := added + `{"type":"MODIFIED",` + secret + `{"type":"BOOKMARK",` + secret + `{"type":"DELETED",` + secret
	allTypes := []watch.EventType{watch.Added, watch.Modified, watch.Bookmark, watch.Deleted}
	for _, c := range []struct {
		name, body string
		want       []watch.EventType
		cause      string // of the error, "" for none
	}{
		{"events", all, allTypes, ""},
		{"events without newlines", strings.ReplaceAll(all, "\n", ""), allTypes, ""},
		{"half an event", added + `{"type":"MODIFIED",` + secret[:len(secret)-4], allTypes[:1], ""},
		{"expired version", added + expired, allTypes[:1], "410"},
		{"wrong kind", strings.ReplaceAll(added, "Secret", "Pod"), nil, CauseInvalidAnswer},
		{"wrong API version", strings.ReplaceAll(added, "v1", "v2"), nil, CauseInvalidAnswer},
		{"unknown type", `{"type":"ADD",` + secret, nil, CauseInvalidAnswer},
		{"Secret in an ERROR event", `{"type":"ERROR",` + secret, nil, CauseInvalidAnswer},
		{"wrong type of a field", wrongField, nil, CauseInvalidAnswer},
		{"not JSON", added + "<html>", allTypes[:1], CauseInvalidAnswer},
		{"empty lines", "\n" + added + "\n\n", allTypes[:1], ""},
		{"empty body", "", nil, ""},
	} {
		types, err := readEvents(answering(200, jsonType, []byte(c.body)))
		cause := ""
		if e := (*Error)(nil); errors.As(err, &e) {
			cause = e.Cause
		} else if err != nil {
			t.Errorf("%s: got %v, want an *Error", c.name, err)
		}
		if !slices.Equal(types, c.want) || cause != c.cause {
			t.Errorf("%s: got %v and %q, want %v and %q", c.name, types, cause, c.want, c.cause)
		}
	}
}

// TestWatch_noTrailingNewline: an event is delivered when its object is complete, not
// when the next event or a newline arrives.
func TestWatch_noTrailingNewline(t *testing.T) {
	r, w := io.Pipe()
	all, err := Watch[thing](t.Context(), streaming(200, jsonType, r), secrets, "7")
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan watch.EventType)
	go func() {
		defer close(received)
		for e := range all {
			received <- e.Type
		}
	}()
	for _, kind := range []watch.EventType{watch.Added, watch.Modified} {
		_, _ = io.WriteString(w, `{"type":"`+string(kind)+`","object":{"kind":"Secret","apiVersion":"v1"}}`)
		select {
		case got := <-received:
			if got != kind {
				t.Errorf("got %s, want %s", got, kind)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not delivered", kind)
		}
	}
	_ = w.Close()
	<-received
}

// TestWatch_request: the watch begins after the version and asks for bookmarks. Without
// bookmarks, a quiet watch would be stale every three minutes.
func TestWatch_request(t *testing.T) {
	var got url.Values
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Query() }))
	defer server.Close()
	if _, err := Watch[thing](t.Context(), newClient(t, &rest.Config{Host: server.URL}), secrets, "7"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"watch": "true", "resourceVersion": "7", "allowWatchBookmarks": "true"} {
		if got.Get(key) != want {
			t.Errorf("%s: got %q, want %q", key, got.Get(key), want)
		}
	}
	if d, err := time.ParseDuration(got.Get("timeoutSeconds") + "s"); err != nil || d < MinWatchTime ||
		d > 2*MinWatchTime {
		t.Errorf("timeoutSeconds: got %v, %v, want %v to %v", d, err, MinWatchTime, 2*MinWatchTime)
	}
}

// FuzzAnswer: for any body, an error quotes nothing except the message of a Status.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7"},` +
		`"items":[{"data":{"a":"Yg=="}}]}`))
	f.Add([]byte(`{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","data":{"a":"Yg=="}}}` + "\n"))
	f.Add([]byte(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"message":"too old",` +
		`"details":{"retryAfterSeconds":-1}}}` + "\n"))
	f.Add([]byte(`{"type":"MODIFIED","object":{}}`))
	const text = `the answer ("application/json") does not come from a Kubernetes API server`
	f.Fuzz(func(t *testing.T, body []byte) {
		_, version, err := readList(answering(200, jsonType, body), secrets)
		if (err == nil) != (version != "") {
			t.Errorf("got version %q and %v", version, err)
		}
		types, watchErr := readEvents(answering(200, jsonType, body))
		if slices.Contains(types, watch.Error) || slices.Contains(types, "") {
			t.Errorf("got events %q", types)
		}
		for _, err := range []error{err, watchErr} {
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Cause == CauseInvalidAnswer && e.Err.Error() != text) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestSend_redirect: send follows no redirect, because the other server would receive the
// token.
func TestSend_redirect(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer server.Close()
	c := newClient(t, &rest.Config{Host: server.URL, BearerToken: "t"})
	if _, err := c.Get(t.Context(), "/status"); err == nil || !strings.Contains(err.Error(), "HTTP 302") {
		t.Errorf("got %v, want HTTP 302", err)
	}
	if followed {
		t.Error("the redirect was followed")
	}
}

// TestGet_limit: a large answer of a Pod does not fill the memory.
func TestGet_limit(t *testing.T) {
	got, err := answering(200, jsonType, make([]byte, largestDocument+1)).Get(t.Context(), "/status")
	if err != nil || len(got) != largestDocument {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, largestDocument)
	}
}

// TestPath_prefix: a gateway may serve the API server below a path.
func TestPath_prefix(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		got = r.URL.RequestURI()
	}))
	defer server.Close()
	_, _, _ = readList(newClient(t, &rest.Config{Host: server.URL + "/clusters/a"}), secrets)
	if want := "/clusters/a/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ddb"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
