package simulation

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
	"syscall"
)

// How the API server answers while a fault lasts.
const (
	refuses     = "refuses connections"
	hangs       = "does not answer"
	cuts        = "breaks connections"
	garbage     = "answers garbage"
	halves      = "answers half"
	endsWatches = "ends watches at once"
)

// answers are all of them; the numbers are codes.
var answers = []string{refuses, hangs, cuts, garbage, halves, endsWatches, "401", "403", "410", "429", "500", "503"}

// server is an API server in memory.
type server struct {
	*world
	accept  chan net.Conn
	closed  chan struct{}
	http    *http.Server
	conns   map[net.Conn]bool // guarded by mu
	cutting chan struct{}     // closed to end all streams, and made anew; guarded by mu
	seen    int               // requests; guarded by mu
}

func newServer(w *world) *server {
	s := &server{world: w, accept: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]bool{}, cutting: make(chan struct{})}
	s.http = &http.Server{Handler: s, ConnState: s.track}
	go func() { _ = s.http.Serve(s) }()
	return s
}

// Accept, Close and Addr make it the listener.
func (s *server) Accept() (net.Conn, error) {
	select {
	case c := <-s.accept:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *server) Close() error   { return nil }
func (s *server) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// stop ends it for good.
func (s *server) stop() {
	close(s.closed)
	_ = s.http.Close()
}

func (s *server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.conns[c] = true
	} else if state == http.StateClosed {
		delete(s.conns, c)
	}
}

// dial is how the program's client gets there.
func (s *server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	refused := s.answer == refuses
	s.mu.Unlock()
	if refused {
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

// begin makes it answer so from now on; "" is well. Watches that are open end with
// most of these.
func (s *server) begin(answer string) {
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

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := request(r)
	s.mu.Lock()
	s.seen++
	answer := s.answer
	s.tracef("API: %v%s", q, map[bool]string{true: ", which it " + answer}[answer != ""])
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
	name  string // "": the selector
	watch bool
	rv    string
}

func request(r *http.Request) query {
	form := r.URL.Query()
	name := strings.TrimPrefix(form.Get("fieldSelector"), "metadata.name=")
	watch := form.Get("watch")
	return query{name: name, watch: watch == "true" || watch == "1", rv: form.Get("resourceVersion")}
}

func (q query) String() string {
	verb, of := "list", q.name
	if q.watch {
		verb = "watch"
	}
	if of == "" {
		of = "selector"
	}
	return fmt.Sprintf("%s %s from %q", verb, of, q.rv)
}

// matches reports whether the query asks for the object.
func (q query) matches(o *object) bool {
	return o != nil && (q.name == o.name || q.name == "" && o.labelled)
}

// list answers with what there is now. With resourceVersion=0 a real API server may
// answer from a cache of any age, and so does this one.
func (s *server) list(w io.Writer, q query, half bool) {
	s.mu.Lock()
	rv := s.truth.rv
	if q.rv == "0" {
		rv -= int(s.dice("cache", q.name) * 10)
	}
	items := []any{}
	for _, name := range secrets {
		if o := s.truth.at(rv)[name]; q.matches(o) {
			items = append(items, o.json())
		}
	}
	s.mu.Unlock()
	body, _ := json.Marshal(map[string]any{
		"kind": "SecretList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": fmt.Sprint(rv)}, "items": items,
	})
	if half {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
}

// json is the object as the API server sends it.
func (o *object) json() map[string]any {
	data := map[string][]byte{}
	for key, value := range o.data {
		data[key] = []byte(value)
	}
	labels := map[string]string{"other": "label"}
	if o.labelled {
		labels[labelKey] = labelValue
	}
	return map[string]any{
		"kind": "Secret", "apiVersion": "v1", "data": data,
		"metadata": map[string]any{"name": o.name, "namespace": namespace, "uid": o.uid, "resourceVersion": fmt.Sprint(o.rv), "labels": labels},
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
