package pipeline_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/watcher"
)

// TestSecrets_steps runs a pipeline on a world, lets the steps happen in order, and checks the
// state of "db" after each: its version, or the reason for its absence.
func TestSecrets_steps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := pipeline.New(w.options(pipeline.Options{
			Rules: layout.Rules{Required: []string{"db"}, RequiredKeys: map[string][]string{"db": {"key"}}},
		}))
		go func() { _ = p.Run(t.Context()) }()
		for i, step := range []struct {
			do      func()
			version string
		}{
			{func() {}, ""},
			{func() { w.answer("db", "a") }, "1"},
			{func() { w.answer("db", "b") }, "2"},
			{func() { w.fail = errors.New("full"); w.answer("db", "c") }, "2"},
			{func() { w.quietly("db", "c") }, "2"},
			{func() { w.quietly("db", "b") }, "5"}, // the data in the volume, at a newer version
			{func() { w.fail = nil; w.answer("db", "b") }, "6"},
			{func() { w.quietly("db", "b") }, "7"}, // nothing woke the pipeline
		} {
			step.do()
			synctest.Wait()
			if got := p.Secrets()["db"]; got.ResourceVersion != step.version || got.Present != (step.version != "") {
				t.Errorf("step %d: got %+v, want version %q", i, got, step.version)
			}
		}
		w.answer("db", "")
		synctest.Wait()
		if got, ok := p.Secrets()["db"]; !ok || got.Present {
			t.Errorf("deleted: got %+v", got)
		}
	})
}

// TestSecrets_duringPublish: the Secret goes from a to b and back. While b is being
// written, the newest version looks like the last processed version.
func TestSecrets_duringPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := pipeline.New(w.options(pipeline.Options{}))
		go func() { _ = p.Run(t.Context()) }()
		w.answer("db", "a")
		synctest.Wait()
		publish := make(chan struct{})
		w.before = func() { <-publish }
		w.answer("db", "b")
		synctest.Wait()
		w.answer("db", "a")
		if got := p.Secrets()["db"].ResourceVersion; got != "1" {
			t.Errorf("while b is published: got version %s, want 1", got)
		}
		publish <- struct{}{}
		synctest.Wait()
		if got := p.Secrets()["db"].ResourceVersion; got != "2" {
			t.Errorf("b is in the volume: got version %s, want 2", got)
		}
		publish <- struct{}{}
		synctest.Wait()
		if got := p.Secrets()["db"].ResourceVersion; got != "3" {
			t.Errorf("a is in the volume again: got version %s, want 3", got)
		}
	})
}

// TestSecrets_deletedTwice: after a second deletion, the state contains the UID of the last
// Secret. Without this, /status would return to the UID in the volume, which may belong to
// an earlier Secret.
func TestSecrets_deletedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := pipeline.New(w.options(pipeline.Options{}))
		go func() { _ = p.Run(t.Context()) }()
		for _, step := range []struct{ uid, value, want string }{
			{"first", "a", "first"}, {"", "", "first"}, {"second", "a", "second"}, {"", "", "second"},
		} {
			w.uid = step.uid
			w.answer("db", step.value)
			synctest.Wait()
			if got := p.Secrets()["db"]; got.UID != step.want || got.Present != (step.value != "") {
				t.Errorf("Secret %q with value %q: got %+v, want UID %s", step.uid, step.value, got, step.want)
			}
		}
	})
}

// TestSecrets_history: the state contains the history of the data, also if only metadata
// changed and the pipeline did not wake.
func TestSecrets_history(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := pipeline.New(w.options(pipeline.Options{}))
		go func() { _ = p.Run(t.Context()) }()
		for _, version := range []string{"1", "2"} {
			w.history = watcher.Secret{
				DataSince: "since " + version, PreviousData: status.Interval{Since: version, Until: version},
			}
			if version == "1" {
				w.answer("db", "a")
			} else {
				w.quietly("db", "a")
			}
			synctest.Wait()
			got := p.Secrets()["db"]
			if got.ResourceVersion != version || got.DataSince != w.history.DataSince ||
				got.PreviousData != w.history.PreviousData {
				t.Errorf("version %s: got %+v", version, got)
			}
		}
	})
}

// TestSecrets_restoredCluster: after a restore from a backup, and while publishes fail, the
// files are of a version of the lost history. The version is not reported, even after the
// restored cluster reached its number again.
func TestSecrets_restoredCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := pipeline.New(w.options(pipeline.Options{Rules: layout.Rules{Required: []string{"db"}}}))
		go func() { _ = p.Run(t.Context()) }()
		w.answer("db", "a")
		synctest.Wait()
		w.answer("db", "b")
		synctest.Wait()
		w.fail = errors.New("full")
		w.version = 0
		for _, value := range []string{"a", "c", "d"} {
			w.answer("db", value)
			synctest.Wait()
			if got := p.Secrets()["db"]; got.ResourceVersion != "" || got.DataSince != "" || got.UID == "" {
				t.Errorf("%s: got %+v, want no version", value, got)
			}
		}
		w.fail = nil
		w.answer("db", "e")
		synctest.Wait()
		if got := p.Secrets()["db"]; got.ResourceVersion != "4" {
			t.Errorf("after a publish: got %+v, want version 4", got)
		}
	})
}
