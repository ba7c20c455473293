package pipeline_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
)

// world is the API, the volume and the app around a pipeline, in memory: only the pipeline
// itself takes time.
type world struct {
	mu       sync.Mutex
	snapshot watcher.Snapshot
	version  int
	uid      string         // UID of the next Secret, "" for the default
	history  watcher.Secret // history of the next Secret
	changed  chan struct{}

	number   uint64
	content  generation.Content
	latest   []string // Secrets that the last Publish changed
	fail     error
	before   func() // called by Publish; nil: nothing
	tries    int
	notified int
	rejected []layout.Rejection              // each report
	seen     map[string]pipeline.SecretState // the last report
	log      bytes.Buffer
}

func newWorld() *world {
	return &world{changed: make(chan struct{}, 1), snapshot: watcher.Snapshot{
		Secrets: map[string]watcher.Secret{}, Unsynced: map[string]bool{"secret/db": true},
	}}
}

// answer changes a Secret in the API: to a value of its only key, "-" for the empty value, ""
// for a deleted Secret.
func (w *world) answer(name, value string) {
	if value == "" {
		w.answerData(name, nil)
		return
	}
	w.answerData(name, map[string]secret.Value{"key": secret.Value(strings.TrimPrefix(value, "-"))})
}

// answerData changes the data of a Secret in the API; nil for a deleted Secret.
func (w *world) answerData(name string, data map[string]secret.Value) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := watcher.Snapshot{Secrets: map[string]watcher.Secret{}, Unsynced: map[string]bool{}}
	for n, s := range w.snapshot.Secrets {
		next.Secrets[n] = s
	}
	for n := range w.snapshot.Unsynced {
		next.Unsynced[n] = true
	}
	w.version++
	delete(next.Unsynced, watcher.WatchName(name))
	delete(next.Secrets, name)
	if data != nil {
		s := w.history
		s.UID, s.ResourceVersion, s.Data = cmp.Or(w.uid, "uid"), strconv.Itoa(w.version), data
		next.Secrets[name] = s
	}
	w.snapshot = next
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// answered marks a watch as synced.
func (w *world) answered(watch string) {
	w.mu.Lock()
	delete(w.snapshot.Unsynced, watch)
	w.mu.Unlock()
	w.changed <- struct{}{}
}

// quietly is answer without waking the pipeline.
func (w *world) quietly(name, value string) {
	changed := w.changed
	w.changed = make(chan struct{}, 1)
	w.answer(name, value)
	w.changed = changed
}

func (w *world) Changed() <-chan struct{} { return w.changed }

func (w *world) Snapshot() watcher.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshot
}

func (w *world) Current() (uint64, generation.Content) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.number, w.content
}

func (w *world) Publish(_ context.Context, content generation.Content) (uint64, error) {
	if w.before != nil {
		w.before()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	if w.fail != nil {
		return 0, w.fail
	}
	content.Complete = content.Complete || w.content.Complete
	w.latest = nil
	for name, files := range content.Secrets {
		if !files.Equal(w.content.Secrets[name]) {
			w.latest = append(w.latest, name)
		}
	}
	if w.number == 0 || len(w.latest) > 0 || len(content.Secrets) != len(w.content.Secrets) {
		w.number++
	}
	w.content = content
	return w.number, nil
}

func show(content generation.Content) map[string]string {
	out := map[string]string{}
	for name, files := range content.Secrets {
		out[name] = string(files.Values["key"])
	}
	return out
}

func (w *world) Published(uint64, []string, time.Duration) { w.notified++ }

func (w *world) PublishFailed(string) {}

func (w *world) Rejected(r layout.Rejection) { w.rejected = append(w.rejected, r) }

func (w *world) Secrets(all map[string]pipeline.SecretState) { w.seen = all }

func (w *world) options(o pipeline.Options) pipeline.Options {
	if o.Rules.Required == nil && o.Rules.Optional == nil {
		o.Rules.Required = []string{"db"}
	}
	if o.PublishAfter == nil {
		o.PublishAfter = func() time.Time { return time.Time{} }
	}
	o.Source, o.Observer = w, w
	if o.Publisher == nil {
		o.Publisher = w
	}
	o.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	return o
}

// start runs a pipeline in a bubble of fake time. result receives the error of Run.
func (w *world) start(t *testing.T, o pipeline.Options) (result chan error) {
	ctx, cancel := context.WithCancel(t.Context())
	result = make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		result <- pipeline.New(w.options(o)).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return result
}

func (w *world) want(t *testing.T, number uint64, files string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := fmt.Sprint(show(w.content)); w.number != number || got != files {
		t.Errorf("got generation %d of %s, want %d of %s", w.number, got, number, files)
	}
}
