package watcher

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// canary is part of every secret value. No log may contain it.
const canary = "CANARY-"

// An api is an API server for Secrets. It speaks JSON over HTTP/2 and TLS. A test can
// inject faults.
type api struct {
	*httptest.Server
	mu       sync.Mutex
	version  int
	secrets  map[string]*corev1.Secret
	history  []change
	more     chan struct{} // closed and replaced when history grows
	kick     chan struct{} // closed and replaced to end all watches
	answer   answer        // the injected fault, or nil
	requests []string      // "list" and "watch", each with its query
}

// An answer handles a request in place of the api. It returns false to let the api
// handle the request.
type answer = func(w http.ResponseWriter, r *http.Request) bool

// A change is an entry of the history.
type change struct {
	kind    string
	secret  *corev1.Secret
	was     labels.Set // labels before the change; nil if the Secret did not exist
	version int
}

func newAPI(t *testing.T) *api {
	a := &api{version: 100, secrets: map[string]*corev1.Secret{}, more: make(chan struct{}), kick: make(chan struct{})}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.EnableHTTP2 = true
	a.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} // as kube-apiserver does
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(func() {
		a.endWatches()
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *api) config(address string) *rest.Config {
	if address == "" {
		address = a.Listener.Addr().String()
	}
	return &rest.Config{Host: "https://" + address, BearerToken: "t",
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

// setSecret creates or updates a Secret. An empty uid keeps the current UID.
func (a *api) setSecret(name, value, uid string, set labels.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	s := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "ns", UID: "uid-" +
				types.UID(name), ResourceVersion: strconv.Itoa(a.version), Labels: set,
		},
		Data: map[string][]byte{"password": []byte(canary + value)},
	}
	c := change{kind: "ADDED", secret: s, version: a.version}
	if old := a.secrets[name]; old != nil {
		c.kind, c.was, s.UID = "MODIFIED", labels.Merge(nil, old.Labels), old.UID
	}
	if uid != "" {
		s.UID = types.UID(uid)
	}
	a.secrets[name] = s
	a.record(c)
}

func (a *api) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	s := a.secrets[name].DeepCopy()
	s.ResourceVersion = strconv.Itoa(a.version)
	delete(a.secrets, name)
	a.record(change{kind: "DELETED", secret: s, was: labels.Set(s.Labels), version: a.version})
}

func (a *api) record(c change) {
	a.history = append(a.history, c)
	close(a.more)
	a.more = make(chan struct{})
}

// fault injects a fault. A nil answer ends it.
func (a *api) fault(answer answer) {
	a.mu.Lock()
	a.answer = answer
	a.mu.Unlock()
}

// endWatches ends all watches, as a server does when it shuts down.
func (a *api) endWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.kick)
	a.kick = make(chan struct{})
}

// received returns the requests so far with this verb.
func (a *api) received(verb string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.requests), func(r string) bool { return !strings.HasPrefix(r, verb) })
}

func isWatch(r *http.Request) bool {
	q := r.URL.Query().Get("watch")
	return q == "true" || q == "1"
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	verb := map[bool]string{false: "list", true: "watch"}[isWatch(r)]
	a.mu.Lock()
	a.requests = append(a.requests, verb+"?"+r.URL.RawQuery)
	answer := a.answer
	a.mu.Unlock()
	switch {
	case answer != nil && answer(w, r):
	case verb == "watch":
		a.stream(w, r)
	default:
		a.list(w, r)
	}
}

// matches reports whether a request selects a Secret with this name and these labels.
func matches(r *http.Request, name string, set labels.Set) bool {
	q := r.URL.Query()
	if f := q.Get("fieldSelector"); f != "" && f != "metadata.name="+name {
		return false
	}
	l, err := labels.Parse(q.Get("labelSelector"))
	return err == nil && l.Matches(set)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	list := corev1.SecretList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}}
	list.ResourceVersion = strconv.Itoa(a.version)
	for _, s := range a.secrets {
		if matches(r, s.Name, labels.Set(s.Labels)) {
			list.Items = append(list.Items, *s)
		}
	}
	a.mu.Unlock()
	reply(w, http.StatusOK, list)
}

func (a *api) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	kick := a.kick
	a.mu.Unlock()
	w.(http.Flusher).Flush()
	for i := 0; ; {
		a.mu.Lock()
		news, more := a.history[i:], a.more
		i = len(a.history)
		a.mu.Unlock()
		for _, c := range news {
			if kind := eventType(r, c); kind != "" && c.version > since {
				writeEvent(w, kind, c.secret)
			}
		}
		select {
		case <-more:
		case <-kick:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// eventType returns the type of the event in a watch after a change, or "". For a
// selector, a Secret is deleted when it stops matching.
func eventType(r *http.Request, c change) string {
	before := c.was != nil && matches(r, c.secret.Name, c.was)
	after := c.kind != "DELETED" && matches(r, c.secret.Name, labels.Set(c.secret.Labels))
	switch {
	case before && after:
		return "MODIFIED"
	case before:
		return "DELETED"
	case after:
		return "ADDED"
	}
	return ""
}

func writeEvent(w http.ResponseWriter, kind string, object any) {
	raw, _ := json.Marshal(object)
	_, _ = fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", kind, raw)
	w.(http.Flusher).Flush()
}

func reply(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// errorAnswer returns an answer with an error status of the API server.
func errorAnswer(code int, reason metav1.StatusReason, message string) answer {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		reply(w, code, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
		return true
	}
}
