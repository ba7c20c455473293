package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/layout"
	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/writer/generation"
)

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
