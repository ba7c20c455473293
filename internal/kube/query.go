package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// MinWatchTime is the shortest duration that RandomWatchTime returns, and half of the longest. The API server checks
// permissions only when a watch opens.
const MinWatchTime = 5 * time.Minute

// RandomWatchTime returns a duration for Query.WatchTimeout, in whole seconds.
func RandomWatchTime() time.Duration {
	return (MinWatchTime + rand.N(MinWatchTime)).Truncate(time.Second)
}

// LongestListTimeout limits the timeout of a list, which grows because API Priority and Fairness may queue a list.
const LongestListTimeout = 2 * time.Minute

const pageSize = 100 // objects; a whole list of 5,000 Pods of 10 KB would need 50 MB

// A Query selects objects of a namespace, by name or by label.
type Query struct {
	Resource  Resource
	Namespace string
	Name      string // "": use Selector
	Selector  string // a label selector; "" matches all objects

	// ListTimeout limits each request of a list. Opening a watch has no limit, because some proxies delay its headers
	// until the first event.
	ListTimeout time.Duration
	// WatchTimeout is the time after which the server ends a watch, 0 for a random time.
	WatchTimeout time.Duration
}

// AllowLonger doubles the ListTimeout if err is the timeout of a list.
func (q *Query) AllowLonger(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		q.ListTimeout = min(2*q.ListTimeout, LongestListTimeout)
	}
}

// request returns the request for the selected objects. Without a resourceVersion a list is a quorum read: with "0",
// any API server may answer from a cache of any age.
func (q Query) request(verb string) request {
	params := url.Values{"labelSelector": {q.Selector}}
	if q.Name != "" {
		params = url.Values{"fieldSelector": {"metadata.name=" + q.Name}}
	}
	return request{verb: verb, resource: q.Resource.Resource, path: q.Resource.Path(q.Namespace), params: params}
}

// TypeMeta identifies the type of an object or a list. Types for List and Watch embed it.
type TypeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Is reports whether the object is of the resource. Without this check, "{}" would be an empty list, and the Secret
// would count as deleted.
func (t TypeMeta) Is(r Resource) bool {
	return t.APIVersion == r.GroupVersion().String() && t.Kind == r.Kind
}

type page[T any] struct {
	TypeMeta
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []T             `json:"items"`
}

// List performs a consistent read. It calls each with every selected object, decoded into T, and returns the
// resourceVersion of the list. It never holds more than a page, and all pages are of the version of the first page. If
// that version expires, the error is a 410 (apierrors.IsResourceExpired), and the caller must begin again.
func List[T any](ctx context.Context, c *Client, q Query, each func(T)) (resourceVersion string, err error) {
	for token := ""; ; {
		p, err := readPage[T](ctx, c, q, token)
		if err != nil {
			return "", err
		}
		for _, item := range p.Items {
			each(item)
		}
		if token = p.Metadata.Continue; token == "" {
			return p.Metadata.ResourceVersion, nil
		}
	}
}

// readPage reads a page. token is the continue token of the previous page.
func readPage[T any](ctx context.Context, c *Client, q Query, token string) (p page[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, q.ListTimeout)
	defer cancel()
	r := q.request(VerbList)
	if q.Name == "" {
		r.params.Set("limit", strconv.Itoa(pageSize))
		r.params.Set("continue", token)
	}
	answer, err := c.send(ctx, r)
	if err != nil {
		return p, err
	}
	body, err := r.read(answer, math.MaxInt64)
	list := Resource{q.Resource.GroupVersionResource, q.Resource.Kind + "List"}
	if err == nil && (json.Unmarshal(body, &p) != nil || !p.Is(list) || p.Metadata.ResourceVersion == "") {
		err = r.invalidAnswer(answer)
	}
	return p, err
}

// An Event is a watch event. The object of a bookmark contains only a resourceVersion. The type is never watch.Error.
type Event[T any] struct {
	Type   watch.EventType `json:"type"`
	Object T               `json:"object"`
}

type typed interface{ Is(Resource) bool } // implemented by TypeMeta

// Watch opens a watch and returns its events after resourceVersion. The sequence ends without an error if the server
// ends the watch. It ends with an error after any other end. The caller must cancel ctx in the end.
func Watch[T typed](
	ctx context.Context, c *Client, q Query, resourceVersion string,
) (iter.Seq2[Event[T], error], error) {
	r := q.request(VerbWatch)
	r.params.Set("watch", "true")
	r.params.Set("resourceVersion", resourceVersion)
	r.params.Set("allowWatchBookmarks", "true")
	timeout := cmp.Or(q.WatchTimeout, RandomWatchTime())
	r.params.Set("timeoutSeconds", strconv.Itoa(int(timeout.Seconds())))
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event[T], error) bool) {
		defer func() { _ = answer.Body.Close() }()
		for stream := io.Reader(answer.Body); ; {
			// A decoder keeps a buffer of the size of its largest value. The decoder of a single event does not outlive
			// the event.
			decoder := json.NewDecoder(stream)
			event, err := readEvent[T](decoder, r, answer, q.Resource)
			if err == io.EOF || !yield(event, err) || err != nil {
				return
			}
			stream = io.MultiReader(decoder.Buffered(), stream)
		}
	}, nil
}

// readEvent reads an event. It returns io.EOF at the end of the watch.
func readEvent[T typed](
	decoder *json.Decoder, r request, answer *http.Response, of Resource,
) (e Event[T], err error) {
	var raw Event[json.RawMessage]
	err = decoder.Decode(&raw)
	syntax, wrongType := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return e, io.EOF
	case err != nil && !errors.As(err, &syntax) && !errors.As(err, &wrongType):
		return e, r.connectionFailed(err)
	}
	switch raw.Type {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		e.Type = raw.Type
		if json.Unmarshal(raw.Object, &e.Object) == nil && e.Object.Is(of) {
			return e, nil
		}
	case watch.Error:
		var status metav1.Status
		if json.Unmarshal(raw.Object, &status) == nil && status.Kind == "Status" {
			return e, r.statusError(status)
		}
	}
	return Event[T]{}, r.invalidAnswer(answer)
}
