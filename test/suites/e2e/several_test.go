package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestNotify_severalTargets: two processes, a PID file and two webhooks are notified
// independently. If a target of each kind cannot be notified, the others are. After a crash
// only the failed targets are pending.
func TestNotify_severalTargets(t *testing.T) {
	t.Parallel()
	first, second := fmt.Sprintf("first%d", os.Getpid()%100000), fmt.Sprintf("second%d", os.Getpid()%100000)
	_, firstLog := startTarget(t, first)
	filed, filedLog := startTarget(t, "filed")
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, filed.PID()), 0o644); err != nil {
		t.Fatal(err)
	}
	up, down, addr := st.NewWebhook(t), st.NewWebhook(t), childprocess.FreeAddr(t)
	s := st.New(t, st.Env{
		"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS_MIN_AGE": "100ms", "SECRETSYNC_HTTP_ADDR": addr,
		"SECRETSYNC_PROCESS": first + "," + second + ":HUP", "SECRETSYNC_PID_FILE": pidFile,
		"SECRETSYNC_WEBHOOK_URL": up.URL + "," + down.URL,
	})
	s.SetSecret("db", files{"k": "0"})
	r := s.Start(nil)
	r.WaitReady()
	down.Status.Store(http.StatusServiceUnavailable)
	s.SetSecret("db", files{"k": "1"})
	hups := func(want int) error {
		for _, log := range []fmt.Stringer{firstLog, filedLog} {
			if got := strings.Count(log.String(), "HUP"); got != want {
				return fmt.Errorf("%d times HUP, want %d", got, want)
			}
		}
		return atLeast(len(up.Accepted()), want)
	}
	testsupport.Eventually(t, "the notification of the other targets", func() error { return hups(1) })
	testsupport.Eventually(t, "a failed call", func() error { return atLeast(len(down.Bodies()), 1) })
	testsupport.Eventually(t, "the pending targets", func() error {
		return pending(addr, map[string]string{
			"process/" + first: "0", "process/" + second: "1", "pidfile/1": "0", "webhook/1": "0", "webhook/2": "1",
		})
	})

	r.Kill()
	down.Status.Store(http.StatusOK)
	_, secondLog := startTarget(t, second)
	s.Start(nil)
	testsupport.Eventually(t, "the failed webhook", func() error { return atLeast(len(down.Accepted()), 1) })
	testsupport.Eventually(t, "the missing process", func() error { return logged(secondLog, "HUP", 1) })
	if err := hups(1); err != nil {
		t.Errorf("the targets that were already notified: %v", err)
	}
}

// pending checks the metric secretsync_notify_pending of each target.
func pending(addr string, want map[string]string) error {
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got := map[string]string{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), `secretsync_notify_pending{target="`); ok {
			target, value, _ := strings.Cut(rest, `"} `)
			got[target] = value
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("pending is %v, want %v", got, want)
	}
	return nil
}

// TestItems_modes: a file with its own mode, beside a file with the default mode.
func TestItems_modes(t *testing.T) {
	t.Parallel()
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_ITEMS": "db/key=client.key:0600,db/crt=client.crt"})
	s.SetSecret("db", files{"key": "private", "crt": "public"})
	r := s.Start(nil)
	r.WaitReady()
	for path, want := range map[string]os.FileMode{"db/client.key": 0o600, "db/client.crt": 0o644} {
		info, err := os.Stat(filepath.Join(s.Dir, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want mode %o", path, info, err, want)
		}
	}
	r.Stop()
	r = s.Start(st.Env{"SECRETSYNC_ITEMS": "db/key=client.key:0400,db/crt=client.crt"})
	testsupport.Eventually(t, "the changed mode", func() error {
		info, err := os.Stat(filepath.Join(s.Dir, "db/client.key"))
		if err == nil && info.Mode() != 0o400 {
			err = fmt.Errorf("mode %o", info.Mode())
		}
		return err
	})
	r.WaitLog(`"changed":["db/client.key"]`)
}
