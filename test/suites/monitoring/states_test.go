//go:build programs

package monitoring

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// sidecar is a real one with all that can go wrong: a wire to the API server, a small
// volume, a webhook. It watches the Secret db, and cache, which may be absent, and is.
type sidecar struct {
	*st.Scene
	addr     string // of /metrics
	wire     *st.Wire
	hook     *st.Webhook
	run      *st.Run
	restarts int
	harms    int
	changes  int  // of the Secret
	begun    bool // its state
}

// newSidecar starts one and waits until its files are there.
func newSidecar(t *testing.T) *sidecar {
	t.Helper()
	s := &sidecar{addr: st.OwnAddr(), hook: st.NewWebhook(t)}
	s.Scene = st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_OPTIONAL_SECRETS": "cache", "SECRETSYNC_REQUIRED_KEYS": "db/password",
		"SECRETSYNC_WEBHOOK_URL": s.hook.URL, "SECRETSYNC_HTTP_ADDR": s.addr,
	})
	s.wire = s.Wire()
	s.SmallVolume("256k")
	s.rotate()
	s.start()
	s.fill() // once, for a moment: its counter stays, and is no reason for an alert
	s.waitMetric("secretsync_publish_failures_total{")
	s.rotate()
	s.waitMetric("secretsync_publishes_total 2")
	return s
}

// start waits until the files are there: before its first moment is over, a HUP of
// touch would end the sidecar.
func (s *sidecar) start() {
	s.T.Helper()
	s.run = s.Start(nil)
	st.Until(s.T, "the files", func() error { _, err := fetch(s.addr, "/readyz"); return err })
}

// waitMetric waits for a line that begins so.
func (s *sidecar) waitMetric(begin string) {
	s.T.Helper()
	st.Until(s.T, begin, func() error {
		text, err := fetch(s.addr, "/metrics")
		if err == nil && !strings.Contains(text, "\n"+begin) {
			err = fmt.Errorf("not in\n%s", text)
		}
		return err
	})
}

// fill puts what the volume has no room for.
func (s *sidecar) fill() { s.Put("db", map[string]string{"password": strings.Repeat("x", 900_000)}) }

// rotate puts a new password.
func (s *sidecar) rotate() {
	s.changes++
	s.Put("db", map[string]string{"username": "app", "password": fmt.Sprint(s.changes)})
}

// touch has it read its Secrets again. That stands for the bookmarks that the API server
// sends once a minute.
func (s *sidecar) touch() {
	if err := s.run.Signal(syscall.SIGHUP); err != nil {
		s.T.Error(err)
	}
}

// harm removes a file, as a container does that mounts the volume without readOnly.
func (s *sidecar) harm() {
	s.T.Helper()
	s.harms++
	if err := os.Remove(filepath.Join(s.Dir, "db", "..data", "password")); err != nil && !os.IsNotExist(err) {
		s.T.Error(err)
	}
}

// restart kills the sidecar and starts it again, as the kernel and the kubelet do.
func (s *sidecar) restart() {
	s.run.Kill()
	s.restarts++
	s.start()
}

// state is what a sidecar can be in, with the alert of that name: begin brings it there,
// and again, every minute, keeps it there.
type state struct {
	name         string
	begin, again func(s *sidecar)
}

// healthy has what happens in the life of a Pod: rotations, one repair, one restart.
const healthy = "healthy"

var states = []state{
	{name: healthy, begin: (*sidecar).restart, again: func(s *sidecar) {
		if s.harms == 0 {
			s.harm()
		} else {
			s.rotate()
		}
	}},
	{name: "SecretSyncWatchStale", begin: func(s *sidecar) { s.wire.Cut() }},
	{name: "SecretSyncPublishFailing", begin: (*sidecar).fill},
	{name: "SecretSyncNotificationPending", begin: func(s *sidecar) { s.hook.Status.Store(http.StatusServiceUnavailable); s.rotate() }},
	{name: "SecretSyncSecretMissing", begin: func(s *sidecar) { s.Delete("db") }},
	{name: "SecretSyncSecretRefused", begin: func(s *sidecar) { s.Put("db", map[string]string{"username": "app"}) }},
	{name: "SecretSyncRepairsWithoutEnd", begin: (*sidecar).harm, again: (*sidecar).harm},
	{name: "SecretSyncRestarting", begin: (*sidecar).restart, again: (*sidecar).restart},
}
