package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// oldFiles are the files of a Secret in a volume, and oldContent is a volume with only these.
var (
	oldFiles   = generation.Files{Values: map[string]secret.Value{"key": secret.Value("old")}}
	oldContent = generation.Content{Complete: true, Secrets: map[string]generation.Files{"db": oldFiles}}
)

func (w *world) ChangesSince(uint64) notification.Changes {
	return notification.Changes{Secrets: w.latest}
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
