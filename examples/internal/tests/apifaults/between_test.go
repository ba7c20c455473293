package apifaults

import (
	"fmt"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// between is what can go wrong on the way to an API server that is well.
var between = []struct {
	name  string
	begin func(*road)
	end   func(*road)
	says  []string      // in the lines of the log, one for each state
	tries int           // how many attempts end in the fault; 0: three
	seen  time.Duration // within which it is seen; 0: at once
}{
	{name: "refused", begin: func(r *road) { r.wire.refuse() }, end: func(r *road) { r.wire.listen() }, says: []string{"no connection"}, tries: 7},
	{name: "reset again and again", begin: func(r *road) { r.wire.cut(1) }, end: func(r *road) { r.wire.cut(0) }, says: []string{"no connection"}},
	{name: "ends in the TLS handshake", begin: func(r *road) { r.wire.cut(700) }, end: func(r *road) { r.wire.cut(0) }, says: []string{"no connection"}},
	{name: "ends in half of an answer", begin: func(r *road) { r.wire.cut(1450) }, end: func(r *road) { r.wire.cut(0) }, says: []string{"no connection"}},
	{name: "frozen", begin: func(r *road) { r.wire.freeze() }, end: func(r *road) { r.wire.reset(); r.wire.thaw() }, seen: 20 * time.Second, says: []string{"no connection"}},
	{name: "frozen and thawed", begin: func(r *road) { r.wire.freeze() }, end: func(r *road) { r.wire.thaw() }, seen: 20 * time.Second, says: []string{"no connection"}},
	{name: "another CA", begin: func(r *road) { r.gate.newCertificate(r.t); r.wire.reset() }, end: func(r *road) { r.gate.trust(r.t) }, says: []string{"no connection", "x509"}},
	{name: "401", begin: answers(says(401, "application/json", status(401, "Unauthorized"), "")), end: passes, says: []string{"Unauthorized"}},
	{name: "403", begin: answers(says(403, "application/json", status(403, "Forbidden"), "")), end: passes, says: []string{`resourceNames: ["db"], verbs: [list, watch]`}},
	{name: "404", begin: answers(says(404, "application/json", status(404, "NotFound"), "")), end: passes, says: []string{"NotFound"}},
	{name: "410", begin: answers(says(410, "application/json", status(410, "Expired"), "")), end: passes, says: []string{"Expired"}},
	{name: "429", begin: answers(says(429, "application/json", status(429, "TooManyRequests"), "1")), end: passes, says: []string{"TooManyRequests"}},
	{name: "500", begin: answers(says(500, "application/json", status(500, "InternalError"), "")), end: passes, says: []string{"InternalError"}},
	{name: "502 of a proxy", begin: answers(says(502, "text/plain", "bad gateway", "")), end: passes, says: []string{"HTTP 502"}},
	{name: "503", begin: answers(says(503, "application/json", status(503, "ServiceUnavailable"), "1")), end: passes, says: []string{"ServiceUnavailable"}},
	{name: "HTML", begin: answers(says(200, "text/html", "<html>log in", "")), end: passes, says: []string{"text/html"}},
	{name: "half a JSON object", begin: answers(says(200, "application/json", `{"kind":"SecretList","apiVersion":"v1","items":[`, "")), end: passes, says: []string{"application/json"}},
	{name: "half of what the API server answers", begin: answers(half), end: passes, says: []string{"application/json"}},
	{name: "an empty answer", begin: answers(says(200, "application/json", "", "")), end: passes, says: []string{"application/json"}},
}

// status is an error as the API server words it.
func status(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, reason, reason)
}

// road is sidecar → wire → gateway → API server.
type road struct {
	t    *testing.T
	wire *wire
	gate *gateway
}

func answers(a answer) func(*road) { return func(r *road) { r.gate.say(a) } }
func passes(r *road)               { r.gate.say(nil) }

// newRoad makes a scene at the far end of a road.
func newRoad(t *testing.T, env st.Env) (*st.Scene, *road) {
	g := newGateway(t)
	r := &road{t: t, gate: g, wire: newWire(t, g.address())}
	s := st.New(t, env)
	detour(s, r.wire.address, g.caFile)
	return s, r
}

func TestBetween(t *testing.T) {
	t.Parallel()
	for _, f := range between {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s, r := newRoad(t, st.Env{"SECRETSYNC_SECRETS": "db"})
			p := newPair(t, s)
			f.begin(r)
			p.Put("db", files{"k": "2"})
			began := time.Now()
			st.UntilIn(t, max(f.seen, 5*time.Second), "the fault is seen", func() error { return p.watchUp("0") })
			t.Logf("seen after %v", time.Since(began).Round(time.Millisecond))
			p.endure(t)
			st.UntilIn(t, time.Minute, "some tries", func() error {
				if got, want := len(lines(p.run, ended)), max(f.tries, 3); got < want {
					return fmt.Errorf("%d, want %d", got, want)
				}
				return nil
			})
			f.end(r)
			p.recover(t, patience)
			p.checkStates(t, f.says...)
		})
	}
}

// A server that ends each watch at once is asked again with pauses, and what it
// lists is followed.
func TestWatchesEndAtOnce(t *testing.T) {
	t.Parallel()
	s, r := newRoad(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	p := newPair(t, s)
	began := time.Now()
	r.gate.say(watchesEnd)
	st.Until(t, "the fault is seen", func() error { return p.watchUp("0") })
	p.Put("db", files{"k": "2"})
	st.UntilIn(t, patience, "what is listed", func() error { return p.CheckFiles(files{"db/k": "2"}) })
	if got, most := len(lines(p.run, ended)), 3+int(time.Since(began).Seconds()); got > most {
		t.Errorf("%d attempts in %v, want %d at most", got, time.Since(began), most)
	}
	passes(r)
	p.recover(t, patience)
	p.checkStates(t, "ends at once")
}

// A reset that is over at once: nothing but a line in the log, and the change
// that came meanwhile.
func TestResetOnce(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db"})
	w := newWire(t, "")
	detour(s, w.address, "")
	p := newPair(t, s)
	w.reset()
	p.Put("db", files{"k": "2"})
	p.recover(t, patience)
	p.checkStates(t, "no connection")
}
