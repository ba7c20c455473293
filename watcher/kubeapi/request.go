package kubeapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Media types. The server answers errors in one of those, too.
const (
	JSON     = "application/json"
	protobuf = "application/vnd.kubernetes.protobuf"
	// MetadataOnly asks for an object without all but its metadata: of a Secret,
	// no value leaves the API server.
	MetadataOnly = JSON + ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
)

// Time limits of a list. HTTP/2 pings find a dead connection earlier; these are
// for HTTP/1.1 and for a server that is stuck. The opening of a watch has no
// limit: some proxies hold its headers back until there is an event.
const (
	listTimeout         = 15 * time.Second
	selectorListTimeout = 30 * time.Second // the list may be much longer than one Secret
)

// minWatchTime is how long a watch is asked for, and up to twice that. The API
// server checks permissions only when a watch opens.
const minWatchTime = 5 * time.Minute

// Query tells which Secrets of a namespace are asked for.
type Query struct {
	Namespace string
	Name      string // "": those that match Selector
	Selector  string
}

func (q Query) request(verb string) request {
	params := url.Values{}
	if q.Name == "" {
		params.Set("labelSelector", q.Selector)
	} else {
		params.Set("fieldSelector", "metadata.name="+q.Name)
	}
	return request{verb: verb, resource: "secrets", accept: protobuf + "," + JSON,
		path: namespaced(q.Namespace, "secrets"), params: params}
}

func namespaced(namespace, resource string) string {
	return "/api/v1/namespaces/" + namespace + "/" + resource
}

// List makes a consistent read of the Secrets.
func (c *Client) List(ctx context.Context, q Query) (*SecretList, error) {
	timeout := listTimeout
	if q.Name == "" {
		timeout = selectorListTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// No resourceVersion: a quorum read. With "0" any API server may answer from
	// a cache of any age. No limit: a second page could expire.
	r := q.request(VerbList)
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, r.failed(err)
	}
	list := &SecretList{}
	if !decode(answer, body, "SecretList", list) || list.ResourceVersion == "" {
		return nil, r.garbage(answer)
	}
	return list, nil
}

// Watch opens a watch of what changed since a resourceVersion, and gives its events.
// They end when the server ends the watch, with an error when something else does,
// or with ctx, which must be done in the end.
func (c *Client) Watch(ctx context.Context, q Query, resourceVersion string) (iter.Seq2[Event, error], error) {
	r := q.request(VerbWatch)
	r.params.Set("watch", "true")
	r.params.Set("resourceVersion", resourceVersion)
	r.params.Set("allowWatchBookmarks", "true")
	r.params.Set("timeoutSeconds", strconv.Itoa(int(minWatchTime.Seconds()*(1+rand.Float64()))))
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event, error) bool) {
		defer func() { _ = answer.Body.Close() }()
		for next := eventReader(answer); ; {
			raw, err := next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			event, err := r.event(answer, raw, err)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}, nil
}

// event decodes an event, or describes the error that was read in its place.
func (r request) event(answer *http.Response, raw metav1.WatchEvent, err error) (Event, error) {
	if err != nil {
		return Event{}, r.failed(err)
	}
	switch kind := watch.EventType(raw.Type); kind {
	case watch.Error:
		var status metav1.Status
		if decode(answer, raw.Object.Raw, "Status", &status) {
			return Event{}, r.refused(status)
		}
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		e := Event{Type: kind, Secret: &Secret{}}
		if decode(answer, raw.Object.Raw, "Secret", e.Secret) {
			return e, nil
		}
	}
	return Event{}, r.garbage(answer)
}

// Get sends a GET for a path of the API server and returns the body, to be closed
// by the caller. It ends with ctx.
func (c *Client) Get(ctx context.Context, accept, path string, params url.Values) (io.ReadCloser, error) {
	answer, err := c.send(ctx, request{verb: "get", resource: path, path: path, accept: accept, params: params})
	if err != nil {
		return nil, c.renewed(err)
	}
	return answer.Body, nil
}

// Create creates an object, given as JSON.
func (c *Client) Create(ctx context.Context, namespace, resource string, object []byte) error {
	answer, err := c.send(ctx, request{verb: "create", resource: resource, accept: JSON,
		path: namespaced(namespace, resource), body: object})
	if err != nil {
		return c.renewed(err)
	}
	return answer.Body.Close()
}

// renewed reads the credentials again for the next request, when the server
// did not accept them.
func (c *Client) renewed(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e.Outdated() {
		c.Renew()
	}
	return err
}

// request is one request of the API server.
type request struct {
	verb, resource string // as in a Role, for errors
	path           string
	params         url.Values
	accept         string
	body           []byte // of a create, JSON
}

// send returns a good answer, whose body is to be closed. It follows no redirect,
// which would take the token elsewhere.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	target, method := c.server.JoinPath(r.path), http.MethodGet
	target.RawQuery = r.params.Encode()
	if r.body != nil {
		method = http.MethodPost
	}
	out, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, r.failed(err)
	}
	out.Header.Set("Accept", r.accept)
	if r.body != nil {
		out.Header.Set("Content-Type", JSON)
	}
	answer, err := c.current().RoundTrip(out)
	if err != nil {
		return nil, r.failed(err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, r.answered(answer)
	}
	return answer, nil
}
