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
)

// Where the Secrets are, and the selector that asks for those with the label.
const (
	Namespace = "shop"
	Selector  = label + "=" + value

	label, value = "app", "web"
)

// How the server answers while a fault lasts.
const (
	refuses     = "refuses connections"
	hangs       = "does not answer"
	cuts        = "breaks connections"
	garbage     = "answers garbage"
	halves      = "answers half"
	endsWatches = "ends watches at once"
)

// Answers are all the ways in which it can fail; the numbers are codes.
var Answers = []string{refuses, hangs, cuts, garbage, halves, endsWatches, "401", "403", "410", "429", "500", "503"}

// Options are what a Server has from outside.
type Options struct {
	Store *Store
	// Dice gives a number from 0 to 1 for a question. It decides what goes wrong.
	Dice func(question ...any) float64
	// Tracef notes what happens.
	Tracef func(format string, args ...any)
}

// Server serves a Store.
type Server struct {
	Options
	accept chan net.Conn
	closed chan struct{}
	http   *http.Server

	mu         sync.Mutex // guards all that follows
	conns      map[net.Conn]bool
	cutting    chan struct{} // closed to end all streams, and made anew
	answer     string        // "" is well
	unreliable bool
	seen       int
}

// New makes a server and starts it.
func New(o Options) *Server {
	s := &Server{Options: o, accept: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]bool{}, cutting: make(chan struct{})}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ConnState: s.track}
	go func() { _ = s.http.Serve(listener{s}) }()
	return s
}

// listener accepts what Dial connects.
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

// Stop ends the server for good.
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

// Dial is how a client gets to the server, whatever the address.
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

// Begin makes the server answer so from now on; "" is well. Watches that are open
// end with most answers.
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

// Answer is how the server answers.
func (s *Server) Answer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer
}

// SetUnreliable makes watches skip, repeat, delay and reorder events, or not.
func (s *Server) SetUnreliable(unreliable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unreliable = unreliable
}

// Requests is how many there were.
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

// query is what a request asks for.
type query struct {
	name    string // "": the selector
	watch   bool
	version string
}

func request(r *http.Request) query {
	form := r.URL.Query()
	name := strings.TrimPrefix(form.Get("fieldSelector"), "metadata.name=")
	watch := form.Get("watch")
	return query{name: name, watch: watch == "true" || watch == "1", version: form.Get("resourceVersion")}
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

// matches reports whether the query asks for the object.
func (q query) matches(o *Object) bool {
	return o != nil && (q.name == o.Name || q.name == "" && o.Labelled)
}

// list answers with what there is now. With resourceVersion=0 a real API server may
// answer from a cache of any age, and so does this one.
func (s *Server) list(w io.Writer, q query, half bool) {
	version, items := s.items(q)
	body, _ := json.Marshal(map[string]any{
		"kind": "SecretList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": fmt.Sprint(version)}, "items": items,
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

// json is the object as the API server sends it.
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
		"metadata": map[string]any{"name": o.Name, "namespace": Namespace, "uid": o.UID, "resourceVersion": fmt.Sprint(o.Version), "labels": labels},
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
