package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// reader is an app that prints the file in $1 after each HUP.
const reader = `trap 'cat "$1"; echo' HUP; echo ready; while :; do sleep 0.05; done`

// TestUser_ofOpenShift runs the sidecar and an app as OpenShift does, with a common high UID
// and GID 0. The sidecar must write the files, and the app must receive the signal and read
// the files.
func TestUser_ofOpenShift(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root to change the user")
	}
	user := &syscall.Credential{Uid: 1000650000, Gid: 0}
	s := st.New(t, st.Env{"SECRETSYNC_SECRETS": "db", "SECRETSYNC_PROCESS_MIN_AGE": "100ms"})
	if err := os.Chmod(s.Dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(s.Dir, "db", "password")
	app, log := startAs(t, user, "/bin/sh", "-c", reader, "app", password)
	testsupport.Eventually(t, "the app is ready", func() error { return hasLine(log, "ready") })
	pidFile := filepath.Join(testsupport.MemoryDir(t), "pid")
	if err := os.WriteFile(pidFile, fmt.Append(nil, app.PID()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(pidFile), 0o755); err != nil {
		t.Fatal(err)
	}
	s.SetSecret("db", files{"password": "one"})
	s.StartAs(user, st.Env{
		"KUBECONFIG": st.CopyKubeconfig(t, s.Kubeconfig, ""), "SECRETSYNC_PID_FILE": pidFile,
	})
	s.WaitFiles(files{"db/password": "one"})
	s.SetSecret("db", files{"password": "two"})
	testsupport.Eventually(t, "the app reads the new file", func() error { return hasLine(log, "two") })
}

// startAs starts a program as a user and stops it at the end of the test.
func startAs(
	t *testing.T, user *syscall.Credential, path string, args ...string,
) (*childprocess.Process, *testsupport.Log) {
	t.Helper()
	log := &testsupport.Log{}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

// hasLine returns nil if the log contains the line.
func hasLine(log *testsupport.Log, line string) error {
	if !strings.Contains("\n"+log.String(), "\n"+line+"\n") {
		return fmt.Errorf("no line %q in:\n%s", line, log.String())
	}
	return nil
}
