//go:build programs

package survival

import (
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

// Every kind, found by its name and by its PID file, is notified of each rotation and
// reads the new value; nothing of it dies.
func TestNotified(t *testing.T) {
	for _, k := range kinds {
		for _, by := range []string{"name", "file"} {
			t.Run(k.name+" by "+by, func(t *testing.T) {
				t.Parallel()
				a := newApp(t, k, by == "file", "1s")
				g := a.begin(0)
				g.WaitReady(k.ready)
				for range 3 {
					n := a.MustRotate()
					testsupport.EventuallyWithin(t, podtest.NotifiedWithin, "notified",
						func() error { return g.CheckNotified(n) })
				}
				g.CheckNoneDied()
			})
		}
	}
}
