package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestChanges_hundredSequential waits for each of 100 changes. It measures the time from the
// API server's response to the inotify event of ..data. It is not parallel, because of the
// measurement.
func TestChanges_hundredSequential(t *testing.T) {
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_LOG_LEVEL": "info"})
	s.SetSecret("db", files{"k": "0"})
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
		s.SetSecret("db", files{"k": fmt.Sprint(n)})
		answered := time.Now()
		at := waitSwap(t, s, w, fmt.Sprint(n))
		took = append(took, max(0, at.Sub(answered)))
	}
	slices.Sort(took)
	t.Logf("API response to file in %s: p50 %s, p90 %s, max %s", filepath.Dir(s.Dir), took[50], took[90], took[99])
}

// waitSwap waits for the rename of ..data after which the file has the content, and returns
// its time. The file may change before the API server responds.
func waitSwap(t *testing.T, s *st.Scene, w *fsnotify.Watcher, want string) time.Time {
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
			t.Fatalf("change %s was not published: %v", want, s.CheckFiles(files{"db/k": want}))
		}
	}
}

// TestChanges_hundredAtOnce changes a Secret as fast as possible. The last change must be
// published, and the app must not be notified more often than there were changes.
func TestChanges_hundredAtOnce(t *testing.T) {
	t.Parallel()
	hook := st.NewWebhook(t)
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_WEBHOOK_URL": hook.URL})
	s.SetSecret("db", files{"k": "0"})
	s.Start(nil).WaitReady()
	for n := 1; n <= 100; n++ {
		s.SetSecret("db", files{"k": fmt.Sprint(n)})
	}
	s.WaitFiles(files{"db/k": "100"})
	var last uint64
	testsupport.Eventually(t, "the notification of the last generation", func() error {
		accepted := hook.Accepted()
		if len(accepted) == 0 {
			return fmt.Errorf("no notification")
		}
		if last = accepted[len(accepted)-1].Generation; last != newest(t, s) {
			return fmt.Errorf("notified of generation %d, the newest is %d", last, newest(t, s))
		}
		return nil
	})
	if n := len(hook.Accepted()); n > 100 {
		t.Errorf("%d notifications of 100 changes", n)
	}
	t.Logf("100 changes: %d generations, %d notifications", last-1, len(hook.Accepted()))
}
