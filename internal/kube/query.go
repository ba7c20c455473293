package kube

import (
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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Time limits of a list. HTTP/2 pings detect a dead connection earlier; the limits are
// for HTTP/1.1 and for a server that hangs. Opening a watch has no limit, because some
// proxies delay its headers until the first event.
const (
	listTimeout         = 15 * time.Second
	selectorListTimeout = 30 * time.Second // the list may be much longer than a Secret
)

// minWatchTime is the shortest duration that Watch requests. The longest is twice as
// long. The API server checks permissions only when a watch opens.
const minWatchTime = 5 * time.Minute

// A Query selects objects of a namespace, by name or by label.
type Query struct {
	Resource  Resource
	Namespace string
	Name      string // "": use Selector
	Selector  string // a label selector; "" matches all objects
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
// the resourceVersion of the list.
func List[T any](ctx context.Context, c *Client, q Query) (items []T, resourceVersion string, err error) {
	timeout := listTimeout
	if q.Name == "" {
		timeout = selectorListTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := q.request(VerbList)
	answer, err := c.sendForJSON(ctx, r)
	if err != nil {
		return nil, "", err
	}
	body, err := r.read(answer)
	if err != nil {
		return nil, "", err
	}
	var list struct {
		TypeMeta
		Metadata metav1.ListMeta `json:"metadata"`
		Items    []T             `json:"items"`
	}
	if json.Unmarshal(body, &list) != nil || !list.Is(q.Resource.Kind+"List") || list.Metadata.ResourceVersion == "" {
		return nil, "", r.invalidAnswer(answer)
	}
	return list.Items, list.Metadata.ResourceVersion, nil
}

// An Event is a watch event. The object of a bookmark contains only a resourceVersion.
// The type is never watch.Error.
type Event[T any] struct {
	Type   watch.EventType `json:"type"`
	Object T               `json:"object"`
}

// Watch opens a watch that begins after resourceVersion and returns its events. The
// sequence ends without an error if the server ends the watch. It ends with an error
// after any other end. The caller must cancel ctx in the end.
func Watch[T interface{ Is(string) bool }](
	ctx context.Context, c *Client, q Query, resourceVersion string,
) (iter.Seq2[Event[T], error], error) {
	r := q.request(VerbWatch)
	r.params.Set("watch", "true")
	r.params.Set("resourceVersion", resourceVersion)
	r.params.Set("allowWatchBookmarks", "true")
	r.params.Set("timeoutSeconds", strconv.Itoa(int(minWatchTime.Seconds()*(1+rand.Float64()))))
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
