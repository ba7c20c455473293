//go:build programs

package survival

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

// TestStart_neverKilled starts every kind repeatedly during constant rotations, so the sidecar
// always has a pending signal. Most programs end at a random moment. A third continue until
// they are notified of a newer value. Some install their handler after the minimum age.
func TestStart_neverKilled(t *testing.T) {
	starts := podtest.Number("PROGRAMS_STARTS", 100)
	for i, k := range kinds {
		for j, by := range []string{"name", "file"} {
			share := (starts + 2*i + j) / (2 * len(kinds)) // together: starts
			t.Run(k.name+" by "+by, func(t *testing.T) {
				t.Parallel()
				a := newApp(t, k, by == "file", "1s")
				a.RotateEvery(200 * time.Millisecond)
				r := podtest.Random(t)
				for life := range share {
					a.live(r, life%3 == 2 || life == share-1)
				}
			})
		}
	}
}

// live starts the app and ends it, at once or once it was notified.
func (a *app) live(r *rand.Rand, long bool) {
	a.T.Helper()
	late := time.Duration(0)
	if a.kind.latest > 0 && r.IntN(3) == 0 {
		late = a.kind.latest/3 + podtest.UpTo(r, a.kind.latest*2/3)
	}
	span := podtest.UpTo(r, 300*time.Millisecond)
	if r.IntN(3) == 0 { // around the minimum age and the end of a late start
		span = 900*time.Millisecond + podtest.UpTo(r, 500*time.Millisecond)
	}
	g := a.begin(late)
	if long {
		n := a.Last() + 1
		testsupport.EventuallyWithin(
			a.T,
			podtest.NotifiedWithin,
			fmt.Sprintf("notified, handler late by %v", late),
			func() error { return g.CheckNotified(n) },
		)
	} else {
		select {
		case <-g.Done():
		case <-time.After(span):
		}
	}
	g.CheckNoneDied()
	g.Kill()
	if state := g.State(); state != "signal: killed" {
		a.T.Errorf("ended as %q, handler late by %v, after %v", state, late, span)
	}
	a.KillAll()
}
