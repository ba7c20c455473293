package pipeline_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
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

// oldFiles are the files of a Secret in a volume, and oldContent is a volume with only these.
var (
	oldFiles   = generation.Files{Values: map[string]secret.Value{"key": secret.Value("old")}}
	oldContent = generation.Content{Complete: true, Secrets: map[string]generation.Files{"db": oldFiles}}
)

func show(content generation.Content) map[string]string {
	out := map[string]string{}
	for name, files := range content.Secrets {
		out[name] = string(files.Values["key"])
	}
	return out
}

func (w *world) ChangesSince(uint64) notification.Changes {
	return notification.Changes{Secrets: w.latest}
}
func (w *world) Published(uint64, []string, time.Duration)   { w.notified++ }
func (w *world) PublishFailed(string)                        {}
func (w *world) Rejected(r layout.Rejection)                 { w.rejected = append(w.rejected, r) }
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

func TestRun_publishesAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{})
		time.Sleep(time.Hour)
		w.want(t, 0, "map[]")
		if got := strings.Count(w.log.String(), "nothing is published yet"); got != 1 {
			t.Errorf("logged %d times what it waits for, want once:\n%s", got, w.log.String())
		}
		w.answer("db", "a")
		w.want(t, 1, "map[db:a]")
		w.answer("db", "b")
		w.want(t, 2, "map[db:b]")
		w.answer("db", "b")
		w.want(t, 2, "map[db:b]")
		if w.notified != 2 {
			t.Errorf("notified %d times, want 2", w.notified)
		}
	})
}

func TestRestart_singleGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content = 7, generation.Content{Secrets: map[string]generation.Files{
			"db": oldFiles, "tls": oldFiles,
		}}
		w.snapshot.Unsynced["secret/tls"] = true
		w.start(t, pipeline.Options{Rules: layout.Rules{Required: []string{"db", "tls"}}})
		w.answer("db", "new")
		w.want(t, 7, "map[db:old tls:old]")
		w.answer("tls", "new")
		w.want(t, 8, "map[db:new tls:new]")
	})
}

func TestRestart_limitedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content = 7, generation.Content{Secrets: map[string]generation.Files{
			"db": oldFiles, "tls": oldFiles,
		}}
		w.snapshot.Unsynced["secret/tls"] = true
		w.start(t, pipeline.Options{Rules: layout.Rules{Required: []string{"db", "tls"}}})
		w.answer("db", "new")
		time.Sleep(5 * time.Second)
		w.want(t, 8, "map[db:new tls:old]")
	})
}

func TestDeleted_remove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{RemoveDeleted: true})
		w.answer("db", "a")
		w.want(t, 1, "map[db:a]")
		w.answer("db", "")
		time.Sleep(4900 * time.Millisecond)
		w.answer("db", "a") // back in time
		time.Sleep(time.Minute)
		w.want(t, 1, "map[db:a]")
		w.answer("db", "")
		time.Sleep(4900 * time.Millisecond)
		w.want(t, 1, "map[db:a]")
		time.Sleep(200 * time.Millisecond)
		w.want(t, 2, "map[]")
	})
}

// TestRemove_afterAnOutage: an outage is no absence: the 5 s begin with the answer without the Secret.
func TestRemove_afterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content = 7, oldContent
		w.start(t, pipeline.Options{RemoveDeleted: true})
		time.Sleep(time.Hour)
		w.answer("db", "")
		time.Sleep(4900 * time.Millisecond)
		w.want(t, 7, "map[db:old]")
		time.Sleep(200 * time.Millisecond)
		w.want(t, 8, "map[]")
	})
}

func TestDeleted_keepIsTheDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{})
		w.answer("db", "a")
		w.want(t, 1, "map[db:a]")
		w.answer("db", "")
		time.Sleep(time.Hour)
		w.want(t, 1, "map[db:a]")
	})
}

func TestPublish_retriesWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = errors.New("disk full")
		w.start(t, pipeline.Options{})
		w.answer("db", "a")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if w.tries < 15 || w.tries > 30 {
			t.Errorf("tried %d times in ten minutes, want a backoff up to 30 s", w.tries)
		}
		if got := strings.Count(w.log.String(), "publish failed"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, w.log.String())
		}
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		time.Sleep(30 * time.Second)
		w.want(t, 1, "map[db:a]")
		if w.notified != 1 {
			t.Errorf("notified %d times, want once", w.notified)
		}
		w.mu.Lock()
		w.fail = errors.New("disk full")
		w.mu.Unlock()
		w.answer("db", "b")
		synctest.Wait()
		got := strings.Count(w.log.String(), "publish failed")
		if got != 2 || !strings.Contains(w.log.String(), "publish works again") {
			t.Errorf("logged %d times, want once for each time:\n%s", got, w.log.String())
		}
	})
}

func TestRun_unusableVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = fmt.Errorf("%w: taken", volume.ErrUnusable)
		result := w.start(t, pipeline.Options{})
		w.answer("db", "a")
		if err := <-result; !errors.Is(err, volume.ErrUnusable) {
			t.Errorf("got %v, want ErrUnusable", err)
		}
	})
}

func TestSyncTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		began := time.Now()
		err := <-w.start(t, pipeline.Options{SyncTimeout: 300 * time.Millisecond})
		if !errors.Is(err, pipeline.ErrTimeout) || !strings.Contains(err.Error(), "secret/db") {
			t.Errorf("got %v, want ErrTimeout that names secret/db", err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("after %s, want 300ms", took)
		}
	})
}

// TestSyncTimeout_failedPublish: the error says so.
func TestSyncTimeout_failedPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail = errors.New("disk full")
		result := w.start(t, pipeline.Options{SyncTimeout: time.Second})
		w.answer("db", "a")
		if err := <-result; !errors.Is(err, pipeline.ErrTimeout) ||
			!strings.Contains(err.Error(), "the publish fails") {
			t.Errorf("got %v, want ErrTimeout since publishing fails", err)
		}
	})
}

// TestSyncTimeout_oneShot: a publish by an earlier process is not enough.
func TestSyncTimeout_oneShot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content = 7, oldContent
		err := <-w.start(t, pipeline.Options{OneShot: true, SyncTimeout: time.Minute})
		if !errors.Is(err, pipeline.ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
	})
}

// TestRun_quietStart: answers arrive one after the other. If all arrive soon, the start logs nothing.
func TestRun_quietStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.snapshot.Unsynced["secret/tls"] = true
		w.start(t, pipeline.Options{Rules: layout.Rules{Required: []string{"db", "tls"}}})
		time.Sleep(100 * time.Millisecond)
		w.answer("db", "a")
		time.Sleep(100 * time.Millisecond)
		w.answer("tls", "b")
		w.want(t, 1, "map[db:a tls:b]")
		if strings.Contains(w.log.String(), "nothing is published yet") {
			t.Errorf("got\n%s", w.log.String())
		}
	})
}

func TestSyncTimeout_firstGenerationOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		result := w.start(t, pipeline.Options{SyncTimeout: time.Second})
		w.answer("db", "a")
		time.Sleep(time.Hour)
		select {
		case err := <-result:
			t.Errorf("it ended: %v", err)
		default:
		}
	})
}

func TestOneShot_confirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content = 7, oldContent
		result := w.start(t, pipeline.Options{OneShot: true})
		time.Sleep(time.Minute) // this process did not confirm the files in the volume
		wantRunning(t, result)
		w.answer("db", "old")
		if err := <-result; err != nil {
			t.Errorf("got %v, want nil", err)
		}
		w.want(t, 7, "map[db:old]")
	})
}

// TestOneShot_notPublished: a one-shot run does not end while its publish fails, or while a conflict of paths prevents
// the first generation.
func TestOneShot_notPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.number, w.content, w.fail = 7, oldContent, errors.New("full")
		result := w.start(t, pipeline.Options{OneShot: true})
		w.answer("db", "new")
		time.Sleep(time.Minute)
		wantRunning(t, result)
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		if err := <-result; err != nil {
			t.Errorf("got %v, want nil", err)
		}
		w.want(t, 8, "map[db:new]")
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.snapshot.Unsynced["secret/tls"] = true
		rules := layout.Rules{Layout: generation.Flat, Required: []string{"db"}, Optional: []string{"tls"}}
		result := w.start(t, pipeline.Options{OneShot: true, Rules: rules})
		w.answer("db", "a")
		w.answer("tls", "b")
		for range 5 {
			time.Sleep(time.Second)
			w.answer("tls", "c")
		}
		wantRunning(t, result)
		if got := strings.Count(w.log.String(), "nothing is published yet"); got != 1 {
			t.Errorf("logged %d times that nothing is published, want once:\n%s", got, w.log.String())
		}
		w.want(t, 0, "map[]")
	})
}

func wantRunning(t *testing.T, result chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("it ended: %v", err)
	default:
	}
}

// TestRejected_reportedOncePerChange: a Secret is rejected again and again, then for another
// reason, then anew. Each change goes to the log and to the observer.
func TestRejected_reportedOncePerChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{Rules: layout.Rules{
			Required: []string{"db"}, RequiredKeys: map[string][]string{"db": {"other"}},
		}})
		for range 5 {
			w.answer("db", "a")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := strings.Count(w.log.String(), "rejected a Secret"); got != 1 || len(w.rejected) != 1 {
			t.Errorf("logged %d times and reported %d times, want 1 and 1:\n%s", got, len(w.rejected), w.log.String())
		}
		if got := w.seen["db"]; !got.Present || got.Rejected != layout.ReasonMissingKey {
			t.Errorf("seen: got %+v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{Rules: layout.Rules{
			Required: []string{"db"}, RequiredKeys: map[string][]string{"db": {"key"}},
		}})
		for _, step := range []struct {
			value    string
			rejected int // reports, with this Secret
			restored int // lines about the end of the rejection
		}{{"-", 1, 0}, {"-", 1, 0}, {"a", 1, 1}, {"-", 2, 1}, {"", 2, 2}} {
			w.answer("db", step.value)
			synctest.Wait()
			restored := strings.Count(w.log.String(), "a Secret is no longer rejected")
			if len(w.rejected) != step.rejected || restored != step.restored {
				t.Errorf("%+v: reported %d times, restored %d times:\n%s", step, len(w.rejected), restored,
					w.log.String())
			}
		}
	})
}

// TestRejected_anotherReason: another reason is reported, and is no end of the rejection.
func TestRejected_anotherReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{Rules: layout.Rules{
			Required: []string{"db"}, RequiredKeys: map[string][]string{"db": {"key", "other"}},
		}})
		w.answer("db", "-")
		synctest.Wait()
		w.answer("db", "a")
		synctest.Wait()
		if len(w.rejected) != 2 || w.rejected[0].Reason != layout.ReasonEmptyKey ||
			w.rejected[1].Reason != layout.ReasonMissingKey {
			t.Errorf("got %+v", w.rejected)
		}
		if strings.Contains(w.log.String(), "a Secret is no longer rejected") {
			t.Errorf("got\n%s", w.log.String())
		}
	})
}

// TestStates_beforeAndAfterTheAnswer: a Secret absent from the API keeps its files, and is seen as
// gone.
func TestStates_beforeAndAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.snapshot.Unsynced["selector"] = true
		w.start(t, pipeline.Options{Rules: layout.Rules{Required: []string{"db"}, Selector: true}})
		if len(w.seen) != 0 {
			t.Errorf("before an answer: got %v", w.seen)
		}
		w.answer("db", "a")
		w.answer("tls", "b")
		w.answered("selector")
		w.want(t, 1, "map[db:a tls:b]")
		w.answer("tls", "")
		w.want(t, 1, "map[db:a tls:b]")
		if tls, ok := w.seen["tls"]; !ok || tls.Present || !w.seen["db"].Present {
			t.Errorf("got %v", w.seen)
		}
	})
}

// wide is a world in which each publish changes 2,000 Secrets.
type wide struct{ *world }

func (wide) ChangesSince(uint64) notification.Changes {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf("secret-with-a-longer-name-%04d", i)
	}
	return notification.Changes{Secrets: names, Added: names, Changed: names, Removed: names}
}

// TestPublished_logsAShortLine: the line about a publish of 2,000 Secrets names a few of them.
func TestPublished_logsAShortLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.start(t, pipeline.Options{Publisher: wide{w}})
		w.answer("db", "a")
		w.want(t, 1, "map[db:a]")
		if got := w.log.String(); strings.Count(got, "and 1990 more") != 4 || len(got) > 4000 {
			t.Errorf("logged %d bytes: %.5000s", len(got), got)
		}
	})
}
