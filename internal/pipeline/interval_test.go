package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/secret-sync/secret-sync/internal/pipeline"
)

// TestPublishAfter: a publish waits for the end of the interval after a signal. The first publish
// of a burst does not wait.
func TestPublishAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 500 * time.Millisecond
		w := newWorld()
		var quiet time.Time
		w.answer("db", "1")
		w.start(t, pipeline.Settings{PublishAfter: func() time.Time { return quiet }})
		synctest.Wait()
		w.want(t, 1, "map[db:1]")
		quiet = time.Now().Add(interval)
		w.answer("db", "2")
		time.Sleep(interval / 2)
		w.answer("db", "3")
		synctest.Wait()
		w.want(t, 1, "map[db:1]")
		time.Sleep(interval / 2)
		synctest.Wait()
		w.want(t, 2, "map[db:3]")
	})
}
