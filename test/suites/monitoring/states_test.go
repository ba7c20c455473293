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

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A sidecar is a real sidecar and everything that can fail: a wire to the API server, a small
// volume and a webhook. It watches the Secret db, and the optional Secret cache, which is
// missing.
type sidecar struct {
	*st.Scene
	addr     string // the address of /metrics
	wire     *st.Wire
	hook     *st.Webhook
	run      *st.Run
	restarts int
	harms    int
	changes  int  // the number of changes of the Secret
	begun    bool // the state has begun
}

// newSidecar starts a sidecar and waits until its files are published.
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
	s.fill() // for a moment: the counter remains, and must not cause an alert
	s.waitMetric("secretsync_publish_failures_total{")
	s.rotate()
	s.waitMetric("secretsync_publishes_total 2")
	return s
}

// start waits until the files are published. An earlier HUP would end the sidecar, because
// its handler is not installed yet.
func (s *sidecar) start() {
	s.T.Helper()
	s.run = s.Start(nil)
	testsupport.Eventually(s.T, "the files", func() error { _, err := fetch(s.addr, "/readyz"); return err })
}

// waitMetric waits for a line with this prefix.
func (s *sidecar) waitMetric(prefix string) {
	s.T.Helper()
	testsupport.Eventually(s.T, prefix, func() error {
		text, err := fetch(s.addr, "/metrics")
		if err == nil && !strings.Contains(text, "\n"+prefix) {
			err = fmt.Errorf("not in\n%s", text)
		}
		return err
	})
}

// fill sets a value too large for the volume.
func (s *sidecar) fill() {
	s.SetSecret("db", map[string]string{"password": strings.Repeat("x", 900_000)})
}

// rotate sets a new password.
func (s *sidecar) rotate() {
	s.changes++
	s.SetSecret("db", map[string]string{"username": "app", "password": fmt.Sprint(s.changes)})
}

// touch makes the sidecar read its Secrets again. This simulates the bookmarks sent by the
// API server every minute.
func (s *sidecar) touch() {
	if err := s.run.Signal(syscall.SIGHUP); err != nil {
		s.T.Error(err)
	}
}

// harm removes a file, like a container with a writable mount of the volume.
func (s *sidecar) harm() {
	s.T.Helper()
	s.harms++
	if err := os.Remove(filepath.Join(s.Dir, "db", "..data", "password")); err != nil && !os.IsNotExist(err) {
		s.T.Error(err)
	}
}

// restart kills the sidecar and starts it again, like the kernel and the kubelet.
func (s *sidecar) restart() {
	s.run.Kill()
	s.restarts++
	s.start()
}

// A state is a condition of a sidecar, with the name of its alert. begin brings the sidecar
// into the state, and again, called every minute, keeps it there.
type state struct {
	name         string
	begin, again func(s *sidecar)
}

// healthy is the state of a normal Pod: rotations, one repair, one restart.
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
	{
		name:  "SecretSyncNotificationPending",
		begin: func(s *sidecar) { s.hook.Status.Store(http.StatusServiceUnavailable); s.rotate() },
	},
	{name: "SecretSyncSecretMissing", begin: func(s *sidecar) { s.Delete("db") }},
	{name: "SecretSyncSecretRefused",
		begin: func(s *sidecar) { s.SetSecret("db", map[string]string{"username": "app"}) }},
	{name: "SecretSyncRepairsWithoutEnd", begin: (*sidecar).harm, again: (*sidecar).harm},
	{name: "SecretSyncRestarting", begin: (*sidecar).restart, again: (*sidecar).restart},
}
