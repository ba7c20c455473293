package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// thing is an object for tests.
type thing struct {
	Header
	Data map[string][]byte `json:"data"`
}

// answering is a client of a server that gives one answer.
func answering(code int, contentType string, body []byte) *Client {
	server := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Content-Type": {contentType}},
			Body: io.NopCloser(bytes.NewReader(body)),
		}, nil
	})
	return &Client{server: &url.URL{Scheme: "https", Host: "example.test"}, transport: &transport{RoundTripper: server, close: func() {}}}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var secrets = Query{Kind: "Secret", Namespace: "ns", Name: "db"}

// events reads a watch to its end.
func events(c *Client) (types []watch.EventType, err error) {
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

// TestWatch: each line is an event, and half a line is the end of the watch.
func TestWatch(t *testing.T) {
	const secret = `"object":{"kind":"Secret","apiVersion":"v1"}}` + "\n"
	const status = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","metadata":{},"code":410,"message":"too old"}}` + "\n"
	for _, c := range []struct {
		name, body string
		want       []watch.EventType
		kind       string // of the error, "" for none
	}{
		{"events", `{"type":"ADDED",` + secret + `{"type":"MODIFIED",` + secret + `{"type":"BOOKMARK",` + secret + `{"type":"DELETED",` + secret,
			[]watch.EventType{watch.Added, watch.Modified, watch.Bookmark, watch.Deleted}, ""},
		{"half an event", `{"type":"ADDED",` + secret + `{"type":"MODIFIED",` + secret[:len(secret)-4], []watch.EventType{watch.Added}, ""},
		{"the end of a version", `{"type":"ADDED",` + secret + status, []watch.EventType{watch.Added}, "410"},
		{"another kind", strings.ReplaceAll(`{"type":"ADDED",`+secret, "Secret", "Pod"), nil, "garbage"},
		{"another version", strings.ReplaceAll(`{"type":"ADDED",`+secret, "v1", "v2"), nil, "garbage"},
		{"an unknown type", `{"type":"ADD",` + secret, nil, "garbage"},
		{"an error that is a Secret", `{"type":"ERROR",` + secret, nil, "garbage"},
		{"a field of another kind", `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","data":1}}` + "\n", nil, "garbage"},
		{"an empty line", "\n", nil, "garbage"},
		{"nothing", "", nil, ""},
	} {
		types, err := events(answering(200, JSON, []byte(c.body)))
		kind := ""
		if e := (*Error)(nil); errors.As(err, &e) {
			kind = e.Kind
		} else if err != nil {
			t.Errorf("%s: got %v, want an *Error", c.name, err)
		}
		if !slices.Equal(types, c.want) || kind != c.kind {
			t.Errorf("%s: got %v and %q, want %v and %q", c.name, types, kind, c.want, c.kind)
		}
	}
}

// TestList: what is not a whole list of that kind is not an empty one.
func TestList(t *testing.T) {
	const list = `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{},{}]}`
	for _, c := range []struct {
		name, contentType, body string
		items                   int // 0: an error
	}{
		{"a list", "application/json; charset=utf-8", list, 2},
		{"a list without a type", "", list, 2},
		{"of protobuf", "application/vnd.kubernetes.protobuf", list, 0},
		{"of another kind", JSON, strings.Replace(list, "Secret", "Pod", 1), 0},
		{"a Secret", JSON, strings.Replace(list, "SecretList", "Secret", 1), 0},
		{"without a kind", JSON, strings.Replace(list, "SecretList", "", 1), 0},
		{"without a version", JSON, strings.Replace(list, "7", "", 1), 0},
		{"half of it", JSON, list[:len(list)/2], 0},
		{"nothing", JSON, "", 0},
	} {
		items, version, err := List[thing](t.Context(), answering(200, c.contentType, []byte(c.body)), secrets)
		if len(items) != c.items || (err == nil) != (c.items > 0) || (version == "7") != (c.items > 0) {
			t.Errorf("%s: got %d items, version %q and %v, want %d items", c.name, len(items), version, err, c.items)
		}
	}
}

// FuzzAnswer: whatever a server answers, an error quotes nothing of it, but the
// message of a Status.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"data":{"a":"Yg=="}}]}`))
	f.Add([]byte(`{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","data":{"a":"Yg=="}}}` + "\n"))
	f.Add([]byte(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"message":"too old","details":{"retryAfterSeconds":-1}}}` + "\n"))
	f.Add([]byte(`{"type":"MODIFIED","object":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		ours := answering(200, JSON, body)
		_, version, err := List[thing](t.Context(), ours, secrets)
		if (err == nil) != (version != "") {
			t.Errorf("got version %q and %v", version, err)
		}
		types, watchErr := events(ours)
		if slices.Contains(types, watch.Error) || slices.Contains(types, "") {
			t.Errorf("got events %q", types)
		}
		for _, err := range []error{err, watchErr} {
			if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || e.Kind == "garbage" && e.Text != garbageText) {
				t.Errorf("got %v", err)
			}
		}
	})
}

const garbageText = `the answer ("application/json") is not what a Kubernetes API server gives`

// TestRedirectIsNotFollowed: the token would go elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer server.Close()
	c, err := NewClient(&rest.Config{Host: server.URL, BearerToken: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Get(t.Context(), JSON, "/status"); err == nil || !strings.Contains(err.Error(), "HTTP 302") {
		t.Errorf("got %v, want HTTP 302", err)
	}
	if asked {
		t.Error("the redirect was followed")
	}
}

// TestGetIsLimited: what a Pod answers does not fill the memory.
func TestGetIsLimited(t *testing.T) {
	got, err := answering(200, JSON, make([]byte, largestDocument+1)).Get(t.Context(), JSON, "/status")
	if err != nil || len(got) != largestDocument {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, largestDocument)
	}
}

// TestPathPrefix: an API server may be behind a path of a gateway.
func TestPathPrefix(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.URL.RequestURI() }))
	defer server.Close()
	c, err := NewClient(&rest.Config{Host: server.URL + "/clusters/a"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _, _ = List[thing](t.Context(), c, secrets)
	if want := "/clusters/a/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ddb"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
