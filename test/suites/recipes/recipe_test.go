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
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

const (
	rotations  = 20 // rotations with an overlap
	exceptions = 5  // rotations of each kind without an overlap
)

// A recipe is an app and its notification. See the package comment.
type recipe struct {
	database func(testing.TB) *dbserver.Server // a function of dbserver
	notify   string                            // "webhook", or the name of a signal
	// command returns the command of the app. Its Env is added to the environment of all apps.
	command func(w *world) *exec.Cmd
	// beside, if set, starts a second program, which receives no notification. An example is
	// the web server in front of the app.
	beside  func(w *world)
	reload  string // path of the webhook; "" means /-/reload
	workers int    // number of lines "reloaded as USER" for each reload; 0 means 1
	// reloaded, if set, returns nil once the app has reloaded. The output of the app after
	// the update of the Secret is in since.
	reloaded func(w *world, user, since string) error
	// files, if set, returns additional keys of the Secret.
	files func(w *world, c pool.Credentials) map[string]string
	// retries is true if the app briefly rejects queries. Its clients retry.
	retries bool
	// restarts is true if the app ends at each rotation. Its failed queries are printed,
	// not checked.
	restarts bool
}

// run tests a recipe.
func run(t *testing.T, r recipe) {
	t.Parallel()
	w := newWorld(t, r)
	w.startApp()
	w.startLoad()
	overlap := w.phase("with an overlap", rotations, w.rotate)
	if overlap.failed > 0 && !r.restarts {
		t.Errorf("%d of %d queries failed with an overlap, want none; the first: %v",
			overlap.failed, overlap.queries, w.load.firstError())
	}
	if !r.restarts {
		w.checkTransactions()
	}
	w.phase("password changed in place", exceptions, w.changeInPlace)
	w.phase("old user dropped first", exceptions, w.dropFirst)
	w.load.stop()
}

// phase rotates n times, prints statistics about the queries and returns their counts.
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
	w.t.Logf("%s: %d rotations in %.1f s, %d queries (%d of them transactions), %d failed, "+
		"failures per rotation lasted %v (median; at most %v); reloaded within %v, median %v",
		name, n, time.Since(began).Seconds(), c.queries, c.transactions, c.failed,
		ms(failing[n/2]), ms(failing[n-1]), ms(took[n-1]), ms(took[n/2]))
	return c
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// rotate rotates with an overlap. It returns the duration of the app's reload.
func (w *world) rotate() time.Duration {
	w.t.Helper()
	old, next := w.current, w.newCredentials()
	w.db.create(next)
	took := w.putAndWait(next)
	w.db.drop(old.Username)
	w.waitNoOldSessions(next.Username)
	w.load.more()
	return took
}

// changeInPlace changes the password of the user, and then updates the Secret.
func (w *world) changeInPlace() time.Duration {
	w.t.Helper()
	next := pool.Credentials{Username: w.current.Username, Password: w.newCredentials().Password}
	w.db.alter(next)
	took := w.putAndWait(next)
	w.waitRecovered()
	return took
}

// dropFirst drops the old user and kills its sessions, and then updates the Secret.
func (w *world) dropFirst() time.Duration {
	w.t.Helper()
	old, next := w.current, w.newCredentials()
	w.db.drop(old.Username)
	w.db.killOldSessions()
	w.db.create(next)
	took := w.putAndWait(next)
	w.waitRecovered()
	w.waitNoOldSessions(next.Username)
	return took
}

// checkTransactions checks that the database contains each confirmed transaction exactly
// once. It stops the load for the check, so no transaction is running.
func (w *world) checkTransactions() {
	w.t.Helper()
	w.load.stop()
	if got, want := w.db.transactions(), w.load.counts().committed; got != want {
		w.t.Errorf("the database contains %d transactions, want %d", got, want)
	}
	w.startLoad()
}

// putAndWait updates the Secret and waits until the app has reloaded.
func (w *world) putAndWait(c pool.Credentials) time.Duration {
	w.t.Helper()
	mark := len(w.log.String())
	w.put(c)
	began := time.Now()
	w.until("the app has reloaded", func() error { return w.reloaded(c.Username, w.log.String()[mark:]) })
	return time.Since(began)
}

// reloaded returns nil once the app has reported its reload, in the way of the recipe.
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

// lines counts the lines of text with this end. A line may start with a timestamp.
func lines(text, end string) (n int) {
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimRight(line, "\r\n"), end) {
			n++
		}
	}
	return n
}

// waitRecovered waits until queries succeed again.
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

// appTime limits the time of an app for a start, a reload or some queries. At a load of 30 on two cores, the start of
// gunicorn or of a JVM was seen to take more than 20 s.
const appTime = 2 * time.Minute

// until waits for a condition, and fails immediately if the app ends.
func (w *world) until(condition string, f func() error) {
	w.t.Helper()
	testsupport.EventuallyWithin(w.t, appTime, condition, func() error {
		select {
		case <-w.app.Done():
			w.t.Fatalf("%s: the app has ended: %s", condition, w.app.State())
		default:
		}
		return f()
	})
}

// answers returns nil if the app answers a query.
func (w *world) answers() error { return ask(http.DefaultClient, w.url+"/query") }
