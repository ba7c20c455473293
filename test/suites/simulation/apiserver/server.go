package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The namespace, the resource, and the label selector of the Secrets.
const (
	Namespace = "shop"
	Selector  = label + "=" + value

	label, value = "app", "web"
)

// The responses of the server during a fault.
const (
	refuses     = "refuses connections"
	hangs       = "does not answer"
	cuts        = "breaks connections"
	garbage     = "answers garbage"
	halves      = "answers half"
	endsWatches = "ends watches at once"
)

// Answers lists all faults. A number is a status code.
var Answers = []string{refuses, hangs, cuts, garbage, halves, endsWatches, "401", "403", "410", "429", "500", "503"}

// Options contains the dependencies of a Server.
type Options struct {
	Store *Store
	// Dice returns a number from 0 to 1 for a question. It determines the faults.
	Dice func(question ...any) float64
	// Tracef records an event.
	Tracef func(format string, args ...any)
}

// A Server serves a Store.
type Server struct {
	Options
	accept chan net.Conn
	closed chan struct{}
	http   *http.Server

	mu         sync.Mutex // guards the fields below
	conns      map[net.Conn]bool
	cutting    chan struct{} // closed to end all streams, and then replaced
	answer     string        // the current fault; "" means none
	unreliable bool
	seen       int
}

// New returns a running server.
func New(o Options) *Server {
	s := &Server{
		Options: o, accept: make(chan net.Conn), closed: make(chan struct{}),
		conns: map[net.Conn]bool{}, cutting: make(chan struct{}),
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ConnState: s.track}
	go func() { _ = s.http.Serve(listener{s}) }()
	return s
}

// A listener accepts the connections of Dial.
type listener struct{ *Server }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// Stop stops the server permanently.
func (s *Server) Stop() {
	close(s.closed)
	_ = s.http.Close()
}

func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.conns[c] = true
	} else if state == http.StateClosed {
		delete(s.conns, c)
	}
}

// Dial connects a client with the server. It ignores the address.
func (s *Server) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	if s.Answer() == refuses {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	select {
	case s.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Begin starts a fault, or ends it with "". Most faults also end the open watches.
func (s *Server) Begin(answer string) {
	s.mu.Lock()
	s.answer = answer
	var broken []net.Conn
	if answer != "" && answer != hangs && answer != halves {
		close(s.cutting)
		s.cutting = make(chan struct{})
	}
	if answer == cuts || answer == refuses {
		broken = slices.Collect(maps.Keys(s.conns))
	}
	s.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// Answer returns the current fault.
func (s *Server) Answer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer
}

// SetUnreliable sets whether watches lose, repeat, delay and reorder events.
func (s *Server) SetUnreliable(unreliable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unreliable = unreliable
}

// Requests returns the number of requests.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	q := request(r)
	s.mu.Lock()
	s.seen++
	answer := s.answer
	s.Tracef("API: %v%s", q, map[bool]string{true: ", which it " + answer}[answer != ""])
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch code, _ := strconv.Atoi(answer); {
	case answer == hangs:
		<-r.Context().Done()
	case answer == cuts:
		panic(http.ErrAbortHandler)
	case answer == garbage:
		_, _ = io.WriteString(w, `{"kind":"SecretList`)
	case answer == endsWatches && q.watch:
	case code != 0:
		w.WriteHeader(code)
		writeJSON(w, status(code))
	case q.watch:
		s.stream(w, r.Context(), q)
	default:
		s.list(w, q, answer == halves)
	}
}

// A query is a parsed request.
type query struct {
	name    string // "" for the selector
	watch   bool
	version string
	timeout time.Duration // requested duration of a watch
}

func request(r *http.Request) query {
	form := r.URL.Query()
	name := strings.TrimPrefix(form.Get("fieldSelector"), "metadata.name=")
	watch := form.Get("watch")
	timeout, _ := strconv.Atoi(form.Get("timeoutSeconds"))
	return query{
		name: name, watch: watch == "true" || watch == "1", version: form.Get("resourceVersion"),
		timeout: time.Duration(timeout) * time.Second,
	}
}

func (q query) String() string {
	verb, of := "list", q.name
	if q.watch {
		verb = "watch"
	}
	if of == "" {
		of = "selector"
	}
	return fmt.Sprintf("%s %s from %q", verb, of, q.version)
}

// matches reports whether the query selects the object.
func (q query) matches(o *Object) bool {
	return o != nil && (q.name == o.Name || q.name == "" && o.Labelled)
}

// list writes the current objects. With resourceVersion=0 a real API server may answer
// from a cache of any age, and so does this server.
func (s *Server) list(w io.Writer, q query, half bool) {
	version, items := s.items(q)
	body, _ := json.Marshal(map[string]any{
		"kind": "SecretList", "apiVersion": "v1",
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(version)}, "items": items,
	})
	if half {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
}

func (s *Server) items(q query) (version int, items []any) {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	version, items = s.Store.version, []any{}
	if q.version == "0" {
		version -= int(s.Dice("cache", q.name) * 10)
	}
	all := s.Store.at(version)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if q.matches(all[name]) {
			items = append(items, all[name].json())
		}
	}
	return version, items
}

// json returns the object in the form of the API.
func (o *Object) json() map[string]any {
	data := map[string][]byte{}
	for key, value := range o.Data {
		data[key] = []byte(value)
	}
	labels := map[string]string{"other": "label"}
	if o.Labelled {
		labels[label] = value
	}
	return map[string]any{
		"kind": "Secret", "apiVersion": "v1", "data": data,
		"metadata": map[string]any{
			"name":            o.Name,
			"namespace":       Namespace,
			"uid":             o.UID,
			"resourceVersion": fmt.Sprint(o.Version),
			"labels":          labels,
		},
	}
}

func status(code int) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"reason": http.StatusText(code), "message": "simulated", "code": code,
	}
}

func writeJSON(w io.Writer, value any) {
	body, _ := json.Marshal(value)
	_, _ = w.Write(append(body, '\n'))
}
