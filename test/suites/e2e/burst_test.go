package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Not parallel, for the figure.
//
// Each of 100 changes is waited for, and timed from the API server's answer to
// the moment when inotify says that ..data was exchanged.
func TestHundredChanges(t *testing.T) {
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_LOG_LEVEL": "info"})
	s.Put("db", files{"k": "0"})
	s.Start(nil).WaitReady()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(s.Dir); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for n := 1; n <= 100; n++ {
		s.Put("db", files{"k": fmt.Sprint(n)})
		answered := time.Now()
		at := swapped(t, s, w, fmt.Sprint(n))
		took = append(took, max(0, at.Sub(answered)))
	}
	slices.Sort(took)
	t.Logf("API's answer to the file in %s: p50 %s, p90 %s, max %s", filepath.Dir(s.Dir), took[50], took[90], took[99])
}

// swapped waits for the exchange after which the file has the content, and gives
// its time. The file may be there before the answer is.
func swapped(t *testing.T, s *st.Scene, w *fsnotify.Watcher, want string) time.Time {
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e := <-w.Events:
			at := time.Now()
			if filepath.Base(e.Name) != "..data" || !e.Has(fsnotify.Create) {
				continue
			}
			if got, _ := os.ReadFile(filepath.Join(s.Dir, "db", "k")); string(got) == want {
				return at
			}
		case err := <-w.Errors:
			t.Fatal(err)
		case <-timeout:
			t.Fatalf("change %s has not come: %v", want, s.CheckFiles(files{"db/k": want}))
		}
	}
}

// As fast as the API server takes them: the last change always arrives, and nobody is
// notified more often than there were changes.
func TestHundredChangesAtOnce(t *testing.T) {
	t.Parallel()
	hook := st.NewWebhook(t)
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_WEBHOOK_URL": hook.URL})
	s.Put("db", files{"k": "0"})
	s.Start(nil).WaitReady()
	for n := 1; n <= 100; n++ {
		s.Put("db", files{"k": fmt.Sprint(n)})
	}
	s.WaitFiles(files{"db/k": "100"})
	var last uint64
	st.Until(t, "the app is notified of the last generation", func() error {
		accepted := hook.Accepted()
		if len(accepted) == 0 {
			return fmt.Errorf("no notification")
		}
		if last = accepted[len(accepted)-1].Generation; last != newest(t, s) {
			return fmt.Errorf("notified of %d, newest is %d", last, newest(t, s))
		}
		return nil
	})
	if n := len(hook.Accepted()); n > 100 {
		t.Errorf("%d notifications of 100 changes", n)
	}
	t.Logf("100 changes: %d generations, %d notifications", last-1, len(hook.Accepted()))
}
