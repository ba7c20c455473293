//go:build programs

package programs

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// notifiedWithin is how long it may take until a running program is notified: a step of
// the backoff, 30 s at most, and the minimum age.
const notifiedWithin = 40 * time.Second

// diedOfHUP is how a parent words the end of a child by signal 1.
var diedOfHUP = regexp.MustCompile(`died of HUP|exited on signal 1\b|terminated by signal 1\b`)

// checkNoneDied: neither the program nor, as far as it says so, a child of it was
// killed by HUP.
func (p *pod) checkNoneDied(g *program) {
	p.t.Helper()
	select {
	case <-g.Done():
		p.t.Errorf("the program ended by itself or of HUP: %s\n%s", g.State(), g.log.Tail(10))
	default:
	}
	if line := diedOfHUP.FindString(g.log.String()); line != "" {
		p.t.Errorf("a child was killed: %s\n%s", line, g.log.Tail(20))
	}
}

// TestNeverKilled starts every kind again and again while its Secret rotates all
// the time, so that the sidecar always wants to signal it. Most are ended at a
// random moment; each in three lives on until it is notified of a value that is newer
// than it. Some have their handler later than the minimum age.
func TestNeverKilled(t *testing.T) {
	starts := number("PROGRAMS_STARTS", 100)
	for i, k := range kinds {
		for j, by := range []string{"name", "file"} {
			share := (starts + 2*i + j) / (2 * len(kinds)) // together: starts
			t.Run(k.name+" by "+by, func(t *testing.T) {
				t.Parallel()
				a := newApp(t, k, by == "file", "1s")
				a.rotateEvery(200 * time.Millisecond)
				r := random(t)
				for life := range share {
					a.live(r, life%3 == 2 || life == share-1)
				}
			})
		}
	}
}

// live starts the app and ends it, at once or once it was notified.
func (a *app) live(r *rand.Rand, long bool) {
	a.t.Helper()
	late := time.Duration(0)
	if a.kind.latest > 0 && r.IntN(3) == 0 {
		late = a.kind.latest/3 + upTo(r, a.kind.latest*2/3)
	}
	span := upTo(r, 300*time.Millisecond)
	if r.IntN(3) == 0 { // around the minimum age and the end of a late start
		span = 900*time.Millisecond + upTo(r, 500*time.Millisecond)
	}
	g := a.begin(late)
	if long {
		n := a.n.Load() + 1
		st.UntilIn(a.t, notifiedWithin, fmt.Sprintf("notified, handler late by %v", late), func() error { return g.checkNotified(n) })
	} else {
		select {
		case <-g.Done():
		case <-time.After(span):
		}
	}
	a.checkNoneDied(g)
	g.Kill()
	if state := g.State(); state != "signal: killed" {
		a.t.Errorf("ended as %q, handler late by %v, after %v", state, late, span)
	}
	a.killAll()
}
