//go:build programs

package programs

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/childprocess"
	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// readStatus gives the lines of /proc/PID/status, in words.
func readStatus(dir string) map[string][]string {
	all := map[string][]string{}
	text, _ := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		all[key] = strings.Fields(value)
	}
	return all
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// program is a program that runs in a pod.
type program struct {
	*childprocess.Process
	pod *pod
	log *childprocess.Log
	// answer is what it would say now; nil: what it said last.
	answer func() string
}

// start runs a program in the pod, as a user without rights.
func (p *pod) start(path string, args ...string) *program {
	p.t.Helper()
	cmd := exec.Command(path, args...)
	asUser(p.t, cmd)
	return p.startCommand(cmd)
}

// startCommand is start as the user of the tests, unless cmd says otherwise.
func (p *pod) startCommand(cmd *exec.Cmd) *program {
	p.t.Helper()
	g := &program{pod: p, log: &childprocess.Log{}}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = g.log, g.log
	var err error
	if g.Process, err = p.StartProcess(cmd); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		g.Kill()
		if p.t.Failed() {
			p.t.Logf("%s's output:\n%s", cmd.Path, g.log.Tail(20))
		}
	})
	return g
}

// nobody is the user of the programs.
const nobody = 65534

// asUser makes cmd run as another user than root: PostgreSQL refuses that one.
func asUser(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if os.Getenv(inUserNamespace) == "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return
	}
	wrapper := compile(t, "nobody")
	cmd.Args = append([]string{wrapper, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = wrapper
}

// inner is its number in the pod.
func (g *program) inner() int {
	pids := readStatus(fmt.Sprintf("/proc/%d", g.PID()))["NSpid"]
	if len(pids) < 2 {
		g.pod.t.Fatalf("process %d is in no PID namespace: %v", g.PID(), pids)
	}
	n, _ := strconv.Atoi(pids[len(pids)-1])
	return n
}

var notifiedPattern = regexp.MustCompile(`(?:notified |secretsync.n" changed to ")(\d+)`)

// notified is the value that it read when it was notified last, -1 for never.
func (g *program) notified() int64 {
	text := g.log.String()
	if g.answer != nil {
		text = g.answer()
	}
	all := notifiedPattern.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return -1
	}
	n, _ := strconv.ParseInt(all[len(all)-1][1], 10, 64)
	return n
}

// checkNotified says whether it was notified of n, or of a later value. One that has ended
// fails the test.
func (g *program) checkNotified(n int64) error {
	g.pod.t.Helper()
	select {
	case <-g.Done():
		g.pod.t.Fatalf("the program ended by itself or of HUP: %s", g.State())
	default:
	}
	if got := g.notified(); got < n {
		return fmt.Errorf("notified of %d, want %d\n%s", got, n, g.log.Tail(5))
	}
	return nil
}

func (g *program) waitReady(word string) {
	g.pod.t.Helper()
	st.Until(g.pod.t, "the program runs", func() error { return says(g.log, word) })
}

func says(log *childprocess.Log, word string) error {
	if !strings.Contains(log.String(), word) {
		return fmt.Errorf("no %q in %q", word, log.Tail(3))
	}
	return nil
}
