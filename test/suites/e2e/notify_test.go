package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// startTarget runs this test binary, which handles HUP, under another name.
func startTarget(t *testing.T, name string) (*childprocess.Process, *testsupport.Log) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	log := &testsupport.Log{}
	cmd := exec.Command(path)
	cmd.Env = []string{targetVariable + "=1"}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	testsupport.Eventually(t, "the start of the target", func() error { return logged(log, "ready", 1) })
	return p, log
}

func logged(log *testsupport.Log, word string, n int) error {
	if got := strings.Count(log.String(), word); got != n {
		return fmt.Errorf("%d times %q, want %d\n%s", got, word, n, log)
	}
	return nil
}

// TestNotifySignal_processAndPIDFile finds the target by name and by PID file.
func TestNotifySignal_processAndPIDFile(t *testing.T) {
	for _, by := range []string{"name", "PID file"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("hup%d-%s", os.Getpid()%100000, by[:3])
			target, log := startTarget(t, name)
			env := st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS_MIN_AGE": "100ms"}
			if by == "name" {
				env["SECRETSYNC_PROCESS"] = name
			} else {
				env["SECRETSYNC_PID_FILE"] = filepath.Join(t.TempDir(), "pid")
				if err := os.WriteFile(env["SECRETSYNC_PID_FILE"], fmt.Appendln(nil, target.PID()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := st.New(t, env)
			s.SetSecret("db", files{"k": "0"})
			r := s.Start(nil)
			r.WaitReady()
			for n := 1; n <= 3; n++ {
				s.SetSecret("db", files{"k": fmt.Sprint(n)})
				testsupport.Eventually(t, "HUP", func() error { return logged(log, "HUP", n) })
				if err := s.CheckFiles(files{"db/k": fmt.Sprint(n)}); err != nil {
					t.Errorf("after HUP %d: %v", n, err)
				}
			}
			r.Stop()
			if err := logged(log, "HUP", 3); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNotifySignal_minimumAge: a young process is signalled after it reaches the minimum age.
func TestNotifySignal_minimumAge(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("young%d", os.Getpid()%100000)
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS": name, "SECRETSYNC_PROCESS_MIN_AGE": "2s"})
	s.SetSecret("db", files{"k": "0"})
	r := s.Start(nil)
	r.WaitReady()
	_, log := startTarget(t, name)
	s.SetSecret("db", files{"k": "1"})
	s.WaitFiles(files{"db/k": "1"})
	if err := logged(log, "HUP", 0); err != nil {
		t.Errorf("immediately after the start: %v", err)
	}
	testsupport.Eventually(t, "HUP", func() error { return logged(log, "HUP", 1) })
}

// TestNotifyWebhook_retried: a failing webhook is called again with the newest generation. It
// does not delay a working target.
func TestNotifyWebhook_retried(t *testing.T) {
	t.Parallel()
	hook := st.NewWebhook(t)
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_WEBHOOK_URL": hook.URL})
	s.SetSecret("db", files{"k": "0", "other": "0"})
	r := s.Start(nil)
	r.WaitReady()
	hook.Status.Store(http.StatusInternalServerError)
	s.SetSecret("db", files{"k": "1", "other": "0"})
	testsupport.Eventually(t, "a webhook call", func() error { return atLeast(len(hook.Bodies()), 1) })
	s.SetSecret("db", files{"k": "1", "other": "1"})
	s.WaitFiles(files{"db/k": "1", "db/other": "1"})
	hook.Status.Store(http.StatusOK)
	testsupport.Eventually(t, "an accepted call", func() error { return atLeast(len(hook.Accepted()), 1) })
	got := hook.Accepted()[0]
	if fmt.Sprint(got.Paths()) != "[~db/k ~db/other]" || fmt.Sprint(got.Secrets) != "[db]" {
		t.Errorf("notification %+v, want every change since the last accepted notification", got)
	}
	// Kill the sidecar before it can notify: the next process notifies.
	hook.Status.Store(http.StatusInternalServerError)
	s.SetSecret("db", files{"k": "2", "other": "1"})
	s.WaitFiles(files{"db/k": "2", "db/other": "1"})
	r.Kill()
	hook.Status.Store(http.StatusOK)
	s.Start(nil)
	testsupport.Eventually(t, "an accepted call after the crash",
		func() error { return atLeast(len(hook.Accepted()), 2) })
	if got := hook.Accepted()[1]; fmt.Sprint(got.Paths()) != "[~db/k]" || got.Generation != 4 {
		t.Errorf("notification after a crash %+v, want generation 4 with db/k", got)
	}
}

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d, want at least %d", got, want)
	}
	return nil
}

// TestNotifyExec_environmentAndInput: the command receives the generation in its environment
// and the notification as JSON on standard input.
func TestNotifyExec_environmentAndInput(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal("this test requires a shell")
	}
	out := filepath.Join(t.TempDir(), "out")
	script := `{ echo "$SECRETSYNC_GENERATION"; /bin/cat; } >` + out + `.part && /bin/mv ` + out + `.part ` + out
	command, _ := json.Marshal([]string{sh, "-c", script})
	s := st.New(
		t,
		st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_EXEC": string(command), "SECRETSYNC_NOTIFY_FIRST": "true"},
	)
	s.SetSecret("db", files{"k": "0"})
	s.Start(nil)
	for n := 1; n <= 2; n++ {
		testsupport.Eventually(t, "exec", func() error {
			b, err := os.ReadFile(out)
			if err == nil && !strings.HasPrefix(string(b), fmt.Sprintf("%d\n", n)) {
				err = fmt.Errorf("%q, want generation %d", b, n)
			}
			return err
		})
		b, _ := os.ReadFile(out)
		var got st.Notification
		err := json.Unmarshal(b[2:], &got)
		if err != nil || got.Generation != uint64(n) || fmt.Sprint(got.Secrets) != "[db]" ||
			!strings.HasSuffix(fmt.Sprint(got.Paths()), "db/k]") {
			t.Errorf("exec %d got %s: %v", n, b, err)
		}
		s.SetSecret("db", files{"k": fmt.Sprint(n)})
	}
}
