//go:build programs

package recipes

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

const (
	rotations  = 20 // with an overlap
	exceptions = 5  // of each kind without one
)

// recipe is an app, and how it is notified. See the package's comment.
type recipe struct {
	database func(testing.TB) *dbserver.Server // dbserver.MariaDB or dbserver.PostgreSQL
	notify   string                            // "webhook", or the name of a signal
	// command is how the app is started. What it has in Env is added to the contract's.
	command func(w *world) *exec.Cmd
	// beside, when set, starts what else there has to be, as what answers the load when
	// the app itself does not; nobody notifies that.
	beside  func(w *world)
	workers int // how many lines "reloaded as USER" are waited for; 0: one
	// reloaded, when set, is asked instead until it gives nil. Since is what the app
	// wrote since the Secret was changed.
	reloaded func(w *world, user, since string) error
	// files, when set, gives further keys of the Secret.
	files func(w *world, c pool.Credentials) map[string]string
	// retries is set for an app that refuses queries for a moment: then clients ask again.
	retries bool
	// restarts is set for an app that ends at a rotation: then queries fail with an
	// overlap, too, and how many is printed instead of checked.
	restarts bool
}

// run is the test of a recipe.
func run(t *testing.T, r recipe) {
	t.Parallel()
	w := newWorld(t, r)
	w.startApp()
	w.startLoad()
	overlap := w.phase("with an overlap", rotations, w.rotate)
	if overlap.failed > 0 && !r.restarts {
		t.Errorf("%d of %d queries failed with an overlap, want none; the first: %v", overlap.failed, overlap.queries, w.load.firstError())
	}
	if !r.restarts {
		w.checkTransactions()
	}
	w.phase("password changed in place", exceptions, w.changeInPlace)
	w.phase("old user dropped first", exceptions, w.dropFirst)
	w.load.stop()
}

// phase makes some rotations, and prints what became of the queries.
func (w *world) phase(name string, n int, rotate func() time.Duration) counts {
	w.t.Helper()
	before, began := w.load.counts(), time.Now()
	var took, failing []time.Duration
	w.load.failedFor()
	for range n {
		took = append(took, rotate())
		failing = append(failing, w.load.failedFor())
	}
	c := w.load.counts().minus(before)
	slices.Sort(took)
	slices.Sort(failing)
	w.t.Logf("%s: %d rotations in %.1f s, %d queries (%d of them transactions), %d failed, at a rotation for %v (median; at most %v); reloaded within %v, median %v",
		name, n, time.Since(began).Seconds(), c.queries, c.transactions, c.failed, ms(failing[n/2]), ms(failing[n-1]), ms(took[n-1]), ms(took[n/2]))
	return c
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// rotate is a rotation as it should be. It returns how long the app took to reload.
func (w *world) rotate() time.Duration {
	w.t.Helper()
	old, next := w.current, w.newCredentials()
	w.db.create(next)
	took := w.putAndWait(next)
	w.db.drop(old.Username)
	w.db.waitNoOldSessions(next.Username)
	w.load.more()
	return took
}

// changeInPlace changes the password, and then the Secret.
func (w *world) changeInPlace() time.Duration {
	w.t.Helper()
	next := pool.Credentials{Username: w.current.Username, Password: w.newCredentials().Password}
	w.db.alter(next)
	took := w.putAndWait(next)
	w.waitRecovered()
	return took
}

// dropFirst ends the old user and all that it is connected with, and then changes the
// Secret.
func (w *world) dropFirst() time.Duration {
	w.t.Helper()
	old, next := w.current, w.newCredentials()
	w.db.drop(old.Username)
	w.db.killOldSessions()
	w.db.create(next)
	took := w.putAndWait(next)
	w.waitRecovered()
	w.db.waitNoOldSessions(next.Username)
	return took
}

// checkTransactions: each that was answered is in the database, once. So that none is
// under way, the load ends, and begins again.
func (w *world) checkTransactions() {
	w.t.Helper()
	w.load.stop()
	if got, want := w.db.transactions(), w.load.counts().committed; got != want {
		w.t.Errorf("%d transactions are in the database, %d were answered", got, want)
	}
	w.startLoad()
}

// putAndWait changes the Secret and waits until the app has reloaded.
func (w *world) putAndWait(c pool.Credentials) time.Duration {
	w.t.Helper()
	mark := len(w.log.String())
	w.put(c)
	began := time.Now()
	w.until("the app has reloaded", func() error { return w.reloaded(c.Username, w.log.String()[mark:]) })
	return time.Since(began)
}

// reloaded asks in the way of the recipe.
func (w *world) reloaded(user, since string) error {
	switch {
	case w.recipe.reloaded != nil:
		return w.recipe.reloaded(w, user, since)
	case w.recipe.notify == "webhook":
		return w.notified()
	}
	if got, want := lines(since, "reloaded as "+user), max(1, w.recipe.workers); got < want {
		return fmt.Errorf("%d lines \"reloaded as %s\", want %d", got, user, want)
	}
	return nil
}

// lines counts those that end so: what writes them may put a time before it.
func lines(text, end string) (n int) {
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimRight(line, "\r\n"), end) {
			n++
		}
	}
	return n
}

// waitRecovered waits until no query fails any more.
func (w *world) waitRecovered() {
	w.t.Helper()
	w.until("the app works again", func() error {
		before := w.load.counts()
		w.load.more()
		if failed := w.load.counts().minus(before).failed; failed > 0 {
			return fmt.Errorf("%d more queries failed; the first of all: %v", failed, w.load.firstError())
		}
		return nil
	})
}

// until gives up at once when the app has ended.
func (w *world) until(what string, f func() error) {
	w.t.Helper()
	st.Until(w.t, what, func() error {
		select {
		case <-w.app.Done():
			w.t.Fatalf("%s: the app has ended: %s", what, w.app.State())
		default:
		}
		return f()
	})
}

// answers says whether the app answers a query.
func (w *world) answers() error { return ask(http.DefaultClient, w.url+"/query") }
