//go:build programs

package programs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	"github.com/secret-sync/secret-sync/test/harness/podtest"
	"github.com/secret-sync/secret-sync/test/harness/probe"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// A program is an entry of the table: a program of Debian beside the sidecar. Its command and
// files contain {dir} for the program's directory, {secrets} for the directory of the Secret,
// {addr}, {host} and {port} for its listener, and {port2} for another port.
type program struct {
	name     string   // in docs/programs.md
	pkg      string   // Debian's package
	root     bool     // the program and the sidecar run as root
	otherGID bool     // the sidecar has the UID of the program, but another GID
	setup    string   // shell commands before the start
	files    []string // of testdata/etc, copied to {dir}
	command  string   // arguments, separated by spaces
	probe    probe.Probe
	ways     []way
}

// A way is a notification of a program, with the expected result.
type way struct {
	env    st.Env
	want   result
	log    string // for refused: a part of the sidecar's log
	remark string // for docs/programs.md
}

// bySignal returns a way with a signal. At most one remark may be given.
func bySignal(signal, process string, want result, remark ...string) way {
	env := st.Env{"PROCESS": process}
	if signal != "HUP" {
		env["SIGNAL"] = signal
	}
	return way{env: env, want: want, remark: strings.Join(remark, "")}
}

// byCommand returns a way with a shell command.
func byCommand(script string, want result, remark ...string) way {
	var value strings.Builder
	encoder := json.NewEncoder(&value)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode([]string{"/bin/sh", "-ec", script}); err != nil {
		panic(err)
	}
	return way{env: st.Env{"EXEC": strings.TrimSpace(value.String())}, want: want, remark: strings.Join(remark, "")}
}

// A result is the effect of a notification.
type result string

const (
	reloads  result = "reloads"            // the program uses the new version; no process ends
	restarts result = "restarts"           // the signal ends the program, and the kubelet starts it again
	replaces result = "starts a successor" // which the sidecar signals next; the user ends the old process
	follows  result = "follows"            // the program uses the new version without a notification
	nothing  result = "reloads nothing"    // the program handles the signal and keeps the old version
	ends     result = "ends"               // the signal ends the program, and the sidecar withdraws the success
	refused  result = "refused"            // the sidecar sends no signal
)

// A trial is a way of a program in a Pod.
type trial struct {
	*podtest.Pod
	program program
	way     way
	at      probe.Place
	replace *strings.Replacer
	runs    []*st.Run // of the sidecar; the last one runs
	current atomic.Pointer[podtest.Program]

	ended    atomic.Int64 // number of ends of the program
	lastEnd  atomic.Pointer[time.Time]
	lateEnds int // too late for the sidecar
}

// newTrial starts the sidecar and the program, which uses version 1 when newTrial returns.
func newTrial(t *testing.T, p program, w way) *trial {
	t.Helper()
	if !st.RealRoot() {
		t.Skip("requires root: the programs run as other users")
	}
	tr := &trial{Pod: podtest.New(t, st.Env{"SECRETSYNC_SECRETS": "app"}), program: p, way: w}
	tr.at = probe.Place{Addr: childprocess.FreeAddr(t), Dir: testsupport.MemoryDir(t),
		Secrets: filepath.Join(tr.Dir, "app")}
	tr.replace = tr.replacer(t)
	for name, value := range w.env {
		tr.Env["SECRETSYNC_"+name] = tr.replace.Replace(value)
	}
	tr.Env["KUBECONFIG"] = st.CopyKubeconfig(t, tr.Kubeconfig, "")
	for _, dir := range []string{tr.Dir, tr.at.Dir} {
		if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
	}
	tr.SetSecret("app", probe.Secret(1))
	if w.want == ends {
		tr.serveStatus()
	}
	tr.startSidecar()
	tr.runs[0].WaitReady()
	tr.prepare()
	began := time.Now()
	tr.startProgram()
	tr.waitUsed(1)
	if start := time.Since(began); start > slowStart && w.want != restarts { // a user's remedy for a slow start
		tr.Env["SECRETSYNC_PROCESS_MIN_AGE"] = (2 * start).String()
		tr.killSidecar()
		tr.sidecar().WaitReady()
	}
	return tr
}

const (
	// slowStart is the duration of a start on a busy machine, beyond which SECRETSYNC_PROCESS_MIN_AGE is raised.
	slowStart = 2500 * time.Millisecond
	// usedWithin limits a step of a program on a busy machine: the backoff, the minimum age and the start.
	usedWithin = 2 * time.Minute
	// probeInterval is between two probes. A probe costs the program a connection, and some programs a process.
	probeInterval = 25 * time.Millisecond
)

// uses returns nil if the program uses the version n, or an error not before probeInterval.
func (tr *trial) uses(n int64) error {
	next := time.After(probeInterval)
	err := tr.program.probe(tr.at, n)
	if err != nil {
		<-next
	}
	return err
}

func (tr *trial) replacer(t *testing.T) *strings.Replacer {
	host, port, _ := strings.Cut(tr.at.Addr, ":")
	_, port2, _ := strings.Cut(childprocess.FreeAddr(t), ":")
	return strings.NewReplacer("{dir}", tr.at.Dir, "{secrets}", tr.at.Secrets, "{testdata}", podtest.Testdata(t, ""),
		"{flip}", podtest.CompileGo(t, "flip"),
		"{addr}", tr.at.Addr, "{host}", host, "{port}", port, "{port2}", port2)
}

// startSidecar starts the sidecar as the user of the program, without capabilities unless it
// is root.
func (tr *trial) startSidecar() {
	tr.T.Helper()
	var user *syscall.Credential
	if !tr.program.root {
		user = &syscall.Credential{Uid: podtest.Nobody, Gid: podtest.Nobody}
	}
	if tr.program.otherGID {
		user.Gid--
	}
	tr.runs = append(tr.runs, tr.StartAs(user, nil))
}

// killSidecar kills the sidecar and starts it again.
func (tr *trial) killSidecar() {
	tr.T.Helper()
	tr.sidecar().Kill()
	tr.startSidecar()
}

func (tr *trial) sidecar() *st.Run { return tr.runs[len(tr.runs)-1] }

// notifications returns the number of successes in the log.
func (tr *trial) notifications() (n int) {
	for _, run := range tr.runs {
		n += strings.Count(run.Log.String(), "notified the app")
	}
	return n
}

// prepare writes the files and runs the setup.
func (tr *trial) prepare() {
	tr.T.Helper()
	for _, name := range tr.program.files {
		path := filepath.Join(tr.at.Dir, name)
		text := tr.replace.Replace(st.Read(tr.T, podtest.Testdata(tr.T, "etc/"+name)))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tr.T.Fatal(err)
		}
		if tr.program.root {
			continue
		}
		if err := os.Chown(path, podtest.Nobody, podtest.Nobody); err != nil {
			tr.T.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-ec", tr.replace.Replace(tr.program.setup))
	cmd.Dir = tr.at.Dir
	tr.asUser(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		tr.T.Fatalf("setup: %v\n%s", err, out)
	}
}

func (tr *trial) asUser(cmd *exec.Cmd) {
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + tr.at.Dir, "TMPDIR=" + tr.at.Dir, "LANG=C.UTF-8"}
	if !tr.program.root {
		podtest.AsUser(tr.T, cmd)
	}
}

// startProgram starts the program, and starts it again after each end, like the kubelet.
func (tr *trial) startProgram() {
	tr.T.Helper()
	start := func() *podtest.Program {
		args := strings.Fields(tr.replace.Replace(tr.program.command))
		cmd := exec.Command(podtest.Need(tr.T, args[0]), args[1:]...)
		tr.asUser(cmd)
		return tr.StartCommand(cmd)
	}
	tr.current.Store(start())
	if tr.way.want == replaces { // the end of the old process is no failure
		return
	}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-tr.current.Load().Done():
				tr.lastEnd.Store(new(time.Now()))
				tr.ended.Add(1)
			}
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				tr.current.Store(start())
			}
		}
	})
	tr.T.Cleanup(func() { close(stop); watching.Wait() })
}

// waitUsed waits until the program uses the version n.
func (tr *trial) waitUsed(n int64) {
	tr.T.Helper()
	testsupport.EventuallyWithin(tr.T, usedWithin, fmt.Sprintf("version %d in use", n), func() error {
		err := tr.uses(n)
		if err != nil && tr.ended.Load() > 30 {
			tr.T.Fatalf("the program ends again and again: %v", err)
		}
		return err
	})
}

// rotate writes the version n of the Secret.
func (tr *trial) rotate(n int64) { tr.T.Helper(); tr.SetSecret("app", probe.Secret(n)) }

// settings returns the variables of the way, as in docs/programs.md.
func (w way) settings() string {
	doc := strings.NewReplacer("{dir}", "/run/app", "{secrets}", "/secrets/app", "{addr}", "localhost:PORT",
		"{port}", "PORT", "{port2}", "PORT", "{host}", "localhost")
	var list []string
	for _, name := range slices.Sorted(maps.Keys(w.env)) {
		list = append(list, "`"+name+"="+doc.Replace(w.env[name])+"`")
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, "<br>")
}
