package rotate

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A run is a process of the job. Its `secret-sync wait` is a script that waits for the test. A run therefore consists
// of three steps:
//
//  1. prepare starts the process, and returns when the process runs the script.
//  2. wait lets the app reload. The script still runs.
//  3. finish ends the script, and returns at the end of the process.
type run struct {
	scene *scene
	env   st.Env
	args  []string
	*childprocess.Process
	out, log *testsupport.Log
	dir      string   // of the script
	answer   *os.File // where the script reads its exit code
}

// waitScript writes its arguments to a file, and exits with the code that it reads.
const waitScript = `#!/bin/sh
cd "${0%/*}"
echo "$@" >arguments.tmp && mv arguments.tmp arguments
read code <answer
exit "${code:-1}"
`

// newRun returns a run that has not started. env is added to its environment.
func (s *scene) newRun(env st.Env, args ...string) *run {
	s.t.Helper()
	r := &run{scene: s, args: args, out: &testsupport.Log{}, log: &testsupport.Log{}, dir: s.t.TempDir()}
	script, answer := filepath.Join(r.dir, "wait"), filepath.Join(r.dir, "answer")
	st.Write(s.t, script, waitScript)
	mustDo(s.t, errors.Join(os.Chmod(script, 0o755), syscall.Mkfifo(answer, 0o600)))
	var err error
	r.answer, err = os.OpenFile(answer, os.O_RDWR, 0)
	mustDo(s.t, err)
	s.t.Cleanup(func() { r.answer.Close() })
	r.env = st.Env{
		"PATH": os.Getenv("PATH"), "KUBECONFIG": s.job, "ROTATE_SECRET_SYNC": script, "POD_NAMESPACE": s.Namespace,
		"ROTATE_SECRET": "db", "ROTATE_USERS": s.users[0] + "," + s.users[1],
		"ROTATE_DATABASE": s.server.URL, "ROTATE_ADMIN": s.adminFiles(),
	}
	maps.Copy(r.env, env)
	return r
}

// adminFiles writes the administrator's credentials, as in the volume of a Secret.
func (s *scene) adminFiles() string {
	s.t.Helper()
	dir := s.t.TempDir()
	files := filepath.Join(dir, "..data")
	mustDo(s.t, os.Mkdir(files, 0o700))
	st.Write(s.t, filepath.Join(files, "username"), s.server.Admin.Username)
	st.Write(s.t, filepath.Join(files, "password"), s.server.Admin.Password)
	return dir
}

// start starts the process. It is killed at the end of the test.
func (r *run) start() {
	t := r.scene.t
	t.Helper()
	path, err := program()
	mustDo(t, err)
	cmd := exec.Command(path, r.args...)
	for name, value := range r.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = r.out, r.log
	r.Process, err = childprocess.Start(cmd)
	mustDo(t, err)
	t.Cleanup(func() {
		r.kill()
		t.Logf("output of a run:\n%s%s", r.out, r.log)
	})
}

// kill kills the process and its script, like the end of a container.
func (r *run) kill() {
	_ = syscall.Kill(-r.PID(), syscall.SIGKILL)
	<-r.Done()
}

func (r *run) steps() []func() error { return []func() error{r.prepare, r.wait, r.finish} }

// prepare returns nil when the run waits for the Pods, and the error of a run that ends before.
func (r *run) prepare() error {
	r.scene.t.Helper()
	r.start()
	var ended bool
	testsupport.EventuallyWithin(r.scene.t, patience, "the run to wait for the Pods", func() error {
		select {
		case <-r.Done():
			ended = true
			return nil
		default:
			_, err := os.Stat(filepath.Join(r.dir, "arguments"))
			return err
		}
	})
	if ended {
		return r.result()
	}
	r.checkArguments()
	return nil
}

// checkArguments checks that the run waits for its own update, which is the newest version of the Secret.
func (r *run) checkArguments() {
	r.scene.t.Helper()
	got := st.Read(r.scene.t, filepath.Join(r.dir, "arguments"))
	if want := "wait --secret db --version " + r.scene.Get("db").ResourceVersion + "\n"; got != want {
		r.scene.t.Errorf("got the arguments %q of secret-sync, want %q", got, want)
	}
}

func (r *run) wait() error {
	r.scene.app = r.scene.inSecret()
	return nil
}

func (r *run) finish() error {
	r.endWait("0")
	return r.result()
}

// endWait ends the script with an exit code.
func (r *run) endWait(code string) {
	r.scene.t.Helper()
	_, err := r.answer.WriteString(code + "\n")
	mustDo(r.scene.t, err)
}

// patience limits the time of a step on a busy machine. A run waits up to 30 s for the lock.
const patience = 2 * time.Minute

// result waits for the end of the process. For an exit code other than 0, it returns the last line of standard error.
func (r *run) result() error {
	r.scene.t.Helper()
	select {
	case <-r.Done():
	case <-time.After(patience):
		r.scene.t.Fatalf("the run has not ended after %s", patience)
	}
	if r.ExitCode() == 0 {
		return nil
	}
	text, ok := strings.CutPrefix(r.log.Tail(1), "rotate: ") // after lines of libraries
	if !ok || r.ExitCode() != 1 {
		r.scene.t.Errorf("%s with %q, want exit status 1 with an error", r.State(), r.log)
	}
	return errors.New(strings.TrimSpace(text))
}

// all performs a run.
func (r *run) all() error {
	for _, step := range r.steps() {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// wantError checks the error of a run.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}
