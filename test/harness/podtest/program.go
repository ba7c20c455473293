package podtest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// readStatus returns the fields of each line of /proc/PID/status.
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

// A Program is a program in a pod.
type Program struct {
	*childprocess.Process
	Log *testsupport.Log // both output streams
	// Answer returns the current output of the program; nil means the last output in the log.
	Answer func() string
	t      testing.TB
}

// StartProgram runs a program in the pod, as a user without privileges.
func (p *Pod) StartProgram(path string, args ...string) *Program {
	p.T.Helper()
	cmd := exec.Command(path, args...)
	AsUser(p.T, cmd)
	return p.StartCommand(cmd)
}

// StartCommand runs cmd in the pod, as the user of the tests unless cmd sets another user.
func (p *Pod) StartCommand(cmd *exec.Cmd) *Program {
	p.T.Helper()
	g := &Program{t: p.T, Log: &testsupport.Log{}}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = g.Log, g.Log
	var err error
	if g.Process, err = p.StartProcess(cmd); err != nil {
		p.T.Fatal(err)
	}
	p.T.Cleanup(func() {
		g.Kill()
		if p.T.Failed() {
			p.T.Logf("%s's output:\n%s", cmd.Path, g.Log.Tail(20))
		}
	})
	return g
}

// Nobody is the UID of the programs.
const Nobody = 65534

// AsUser makes cmd run as a user other than root, because PostgreSQL refuses to run as root.
func AsUser(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if st.RealRoot() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}
		return
	}
	wrapper := compileOwn(t, "nobody")
	cmd.Args = append([]string{wrapper, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = wrapper
}

// Inner returns the PID of the program in the pod.
func (g *Program) Inner() int {
	pids := readStatus(fmt.Sprintf("/proc/%d", g.PID()))["NSpid"]
	if len(pids) < 2 {
		g.t.Fatalf("process %d is not in a PID namespace of its own: %v", g.PID(), pids)
	}
	n, _ := strconv.Atoi(pids[len(pids)-1])
	return n
}

var notifiedPattern = regexp.MustCompile(`(?:notified |secretsync.n" changed to ")(\d+)`)

// Notified returns the program's value at its last notification, or -1.
func (g *Program) Notified() int64 {
	text := g.Log.String()
	if g.Answer != nil {
		text = g.Answer()
	}
	all := notifiedPattern.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return -1
	}
	n, _ := strconv.ParseInt(all[len(all)-1][1], 10, 64)
	return n
}

// CheckNotified returns nil if the program was notified of n or of a later value. It fails
// the test if the program has ended.
func (g *Program) CheckNotified(n int64) error {
	g.t.Helper()
	select {
	case <-g.Done():
		g.t.Fatalf("the program ended, by itself or by HUP: %s", g.State())
	default:
	}
	if got := g.Notified(); got < n {
		return fmt.Errorf("notified of %d, want %d\n%s", got, n, g.Log.Tail(5))
	}
	return nil
}

// NotifiedWithin is the time limit for the notification of a running program: a step of the
// backoff, at most 30 s, and the minimum age.
const NotifiedWithin = 40 * time.Second

// WaitNotified waits until the program was notified of n or of a later value.
func (g *Program) WaitNotified(n int64) {
	g.t.Helper()
	testsupport.EventuallyWithin(g.t, NotifiedWithin, "the notification", func() error { return g.CheckNotified(n) })
}

// diedOfHUP matches the messages of parents whose child was killed by signal 1.
var diedOfHUP = regexp.MustCompile(`died of HUP|exited on signal 1\b|terminated by signal 1\b`)

// CheckNoneDied fails the test if the program was killed by HUP, or if the program reports
// that HUP killed a child.
func (g *Program) CheckNoneDied() {
	g.t.Helper()
	select {
	case <-g.Done():
		g.t.Errorf("the program ended, by itself or by HUP: %s\n%s", g.State(), g.Log.Tail(10))
	default:
	}
	if line := diedOfHUP.FindString(g.Log.String()); line != "" {
		g.t.Errorf("a child was killed: %s\n%s", line, g.Log.Tail(20))
	}
}

// WaitReady waits until the program has printed the word.
func (g *Program) WaitReady(word string) {
	g.t.Helper()
	testsupport.Eventually(g.t, "the start of the program", func() error { return LogContains(g.Log, word) })
}

// LogContains returns an error if the log does not contain the word.
func LogContains(log *testsupport.Log, word string) error {
	if !strings.Contains(log.String(), word) {
		return fmt.Errorf("no %q in %q", word, log.Tail(3))
	}
	return nil
}
