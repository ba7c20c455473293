package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// MinWatchTime is the shortest duration of a watch without Query.WatchTimeout. The longest
// is twice as long. The API server checks permissions only when a watch opens.
const MinWatchTime = 5 * time.Minute

const (
	defaultListTimeout = 30 * time.Second
	pageSize           = 500 // objects per request of a list by label
)

// A Query selects objects of a namespace, by name or by label.
type Query struct {
	Resource  Resource
	Namespace string
	Name      string // "": use Selector
	Selector  string // a label selector; "" matches all objects

	// ListTimeout limits each request of a list, 0 for 30 s. Opening a watch has no limit,
	// because some proxies delay its headers until the first event.
	ListTimeout time.Duration
	// WatchTimeout is the time after which the server ends a watch, 0 for a random time.
	WatchTimeout time.Duration
}

// request returns the request for the selected objects. Without a resourceVersion a list
// is a quorum read: with "0", any API server may answer from a cache of any age.
func (q Query) request(verb string) request {
	params := url.Values{"labelSelector": {q.Selector}}
	if q.Name != "" {
		params = url.Values{"fieldSelector": {"metadata.name=" + q.Name}}
	}
	path := q.Resource.Path(q.Namespace)
	return request{verb: verb, resource: q.Resource.Resource, path: path, params: params, accept: JSON}
}

// TypeMeta identifies the type of an object or a list. Types for List and Watch embed it.
type TypeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Is reports whether the type is the given kind of the core API group. Without this
// check, "{}" would be an empty list, and the Secret would count as deleted.
func (t TypeMeta) Is(kind string) bool { return t.APIVersion == "v1" && t.Kind == kind }

// List performs a consistent read and returns the selected objects, decoded into T, and
// the resourceVersion of the list. It reads a list by label in pages. All pages are of the
// version of the first page. If that version expires, List repeats the read without pages.
func List[T any](ctx context.Context, c *Client, q Query) (items []T, resourceVersion string, err error) {
	limit := pageSize
	if q.Name != "" {
		limit = 0
	}
	for token := ""; ; {
		page, err := listPage[T](ctx, c, q, limit, token)
		switch {
		case token != "" && apierrors.IsResourceExpired(err):
			items, token, limit = nil, "", 0
			continue
		case err != nil:
			return nil, "", err
		}
		items = append(items, page.Items...)
		if token = page.Metadata.Continue; token == "" {
			return items, page.Metadata.ResourceVersion, nil
		}
	}
}

// A page is a part of a list, or a whole list.
type page[T any] struct {
	TypeMeta
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []T             `json:"items"`
}

// listPage reads at most limit objects, or all if limit is 0. token is the continue token
// of the previous page.
func listPage[T any](ctx context.Context, c *Client, q Query, limit int, token string) (p page[T], err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(q.ListTimeout, defaultListTimeout))
	defer cancel()
	r := q.request(VerbList)
	if limit > 0 {
		r.params.Set("limit", strconv.Itoa(limit))
	}
	if token != "" {
		r.params.Set("continue", token)
	}
	answer, err := c.sendForJSON(ctx, r)
	if err != nil {
		return p, err
	}
	body, err := r.read(answer)
	if err != nil {
		return p, err
	}
	if json.Unmarshal(body, &p) != nil || !p.Is(q.Resource.Kind+"List") || p.Metadata.ResourceVersion == "" {
		return p, r.invalidAnswer(answer)
	}
	return p, nil
}

// An Event is a watch event. The object of a bookmark contains only a resourceVersion.
// The type is never watch.Error.
type Event[T any] struct {
	Type   watch.EventType `json:"type"`
	Object T               `json:"object"`
}

// Watch opens a watch and returns its events after resourceVersion. The sequence ends without
// an error if the server ends the watch. It ends with an error after any other end. The
// caller must cancel ctx in the end.
func Watch[T interface{ Is(string) bool }](
	ctx context.Context, c *Client, q Query, resourceVersion string,
) (iter.Seq2[Event[T], error], error) {
	r := q.request(VerbWatch)
	r.params.Set("watch", "true")
	r.params.Set("resourceVersion", resourceVersion)
	r.params.Set("allowWatchBookmarks", "true")
	timeout := cmp.Or(q.WatchTimeout, MinWatchTime+rand.N(MinWatchTime))
	r.params.Set("timeoutSeconds", strconv.Itoa(int(timeout.Seconds())))
	answer, err := c.sendForJSON(ctx, r)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event[T], error) bool) {
		defer func() { _ = answer.Body.Close() }()
		for stream := io.Reader(answer.Body); ; {
			var raw json.RawMessage
			// A decoder keeps a buffer of the size of its largest value. The decoder of a
			// single event does not outlive the event.
			decoder := json.NewDecoder(stream)
			err := decoder.Decode(&raw)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			event, err := decodeEvent[T](r, answer, q.Resource.Kind, raw, err)
			if !yield(event, err) || err != nil {
				return
			}
			stream = io.MultiReader(decoder.Buffered(), stream)
		}
	}, nil
}

// decodeEvent decodes raw. readErr is the error of reading raw.
func decodeEvent[T interface{ Is(string) bool }](
	r request, answer *http.Response, kind string, raw []byte, readErr error,
) (event Event[T], err error) {
	if syntax := (*json.SyntaxError)(nil); readErr != nil && !errors.As(readErr, &syntax) {
		return event, r.connectionFailed(readErr)
	}
	err = json.Unmarshal(raw, &event)
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		if err == nil && event.Object.Is(kind) {
			return event, nil
		}
	case watch.Error:
		var failure Event[metav1.Status]
		if json.Unmarshal(raw, &failure) == nil && failure.Object.Kind == "Status" {
			return event, r.statusError(failure.Object)
		}
	}
	return event, r.invalidAnswer(answer)
}
