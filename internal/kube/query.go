package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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

// Query selects objects of a namespace.
type Query struct {
	Kind      string // Secret, Pod
	Namespace string
	Name      string // "": those that match Selector
	Selector  string // of labels
}

// request asks for what the query selects. No resourceVersion makes a list a quorum
// read: with "0" any API server may answer from a cache of any age. And no limit: a
// second page could expire.
func (q Query) request(verb string) request {
	resource := strings.ToLower(q.Kind) + "s"
	params := url.Values{"labelSelector": {q.Selector}}
	if q.Name != "" {
		params = url.Values{"fieldSelector": {"metadata.name=" + q.Name}}
	}
	return request{verb: verb, resource: resource, path: Path(q.Namespace, resource), params: params, accept: JSON}
}

// Header is of every object, also of a list. What is decoded embeds it.
type Header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Is reports whether an object names that kind. An API server always does: without
// this, "{}" would be an empty list, and the Secret deleted.
func (h Header) Is(kind string) bool { return h.APIVersion == "v1" && h.Kind == kind }

// List makes a consistent read of objects, decoded into T.
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
		Header
		Metadata metav1.ListMeta `json:"metadata"`
		Items    []T             `json:"items"`
	}
	if json.Unmarshal(body, &list) != nil || !list.Is(q.Kind+"List") || list.Metadata.ResourceVersion == "" {
		return nil, "", r.garbage(answer)
	}
	return list.Items, list.Metadata.ResourceVersion, nil
}

// Event is one event of a watch. A bookmark's object has a resourceVersion only.
//
// It comes as JSON. Protobuf would have to be decoded by hand, in 140 lines, and would
// save 3 µs of a small Secret; 7 ms and 0.6 MB of memory of one of 900 KB.
type Event[T any] struct {
	Type   watch.EventType `json:"type"` // never watch.Error
	Object T               `json:"object"`
}

// Watch opens a watch of what changed since a resourceVersion, and gives its events.
// They end when the server ends the watch, with an error when something else does,
// or with ctx, which must be done in the end.
func Watch[T interface{ Is(string) bool }](ctx context.Context, c *Client, q Query, resourceVersion string) (iter.Seq2[Event[T], error], error) {
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
		// A json.Decoder would keep a buffer of the largest event's size for as long as
		// the watch is open.
		for lines := bufio.NewReaderSize(answer.Body, 1<<10); ; {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			var event Event[T]
			if err != nil {
				err = r.failed(err)
			} else {
				event, err = decodeEvent[T](r, answer, q.Kind, line)
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}, nil
}

func decodeEvent[T interface{ Is(string) bool }](r request, answer *http.Response, kind string, line []byte) (event Event[T], err error) {
	err = json.Unmarshal(line, &event)
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		if err == nil && event.Object.Is(kind) {
			return event, nil
		}
	case watch.Error:
		var failure Event[metav1.Status]
		if json.Unmarshal(line, &failure) == nil && failure.Object.Kind == "Status" {
			return event, r.refused(failure.Object)
		}
	}
	return event, r.garbage(answer)
}
