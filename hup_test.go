package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/watcher"
)

// runMain makes this test binary secret-sync itself.
const runMain = "TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is more than anything here takes and less than the sweep's interval.
const patience = 20 * time.Second

// testProcess is secret-sync as a process of its own.
type testProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	log chan string // lines; closed at the end of the process
}

// newCommand returns the command of secret-sync with an API server and a volume.
func newCommand(t *testing.T, server, volume string, env ...string) *exec.Cmd {
	t.Helper()
	kubeconfig := filepath.Join(worldDir(t), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": [{"name": "c", "cluster": {"server": %q}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}]}`, server)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{runMain + "=1", "KUBECONFIG=" + kubeconfig, "POD_NAMESPACE=shop",
		"SECRETSYNC_SECRETS=db", "SECRETSYNC_DIR=" + volume, "SECRETSYNC_HTTP_ADDR="}, env...)
	return cmd
}

// start runs secret-sync with an API server and a volume.
func start(t *testing.T, server, volume string, env ...string) *testProcess {
	t.Helper()
	return startCommand(t, newCommand(t, server, volume, env...))
}

// startCommand runs secret-sync and reads its log.
func startCommand(t *testing.T, cmd *exec.Cmd) *testProcess {
	t.Helper()
	p := &testProcess{t: t, cmd: cmd, log: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	go func() {
		defer close(p.log)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.log <- lines.Text()
		}
	}()
	return p
}

// waitLog reads the log up to a line with text, and returns the line.
func (p *testProcess) waitLog(text string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, running := <-p.log:
			if !running {
				p.t.Fatalf("the process ended before %q was in its log: %v", text, p.cmd.Wait())
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-timeout:
			p.t.Fatalf("%q is not in the log", text)
		}
	}
}

func (p *testProcess) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// eventually polls check until it returns true, within patience.
func eventually(t *testing.T, condition string, check func() bool) {
	t.Helper()
	testsupport.EventuallyWithin(t, patience, condition, func() error {
		if !check() {
			return errors.New("not yet")
		}
		return nil
	})
}

const hupLine = "received SIGHUP, reading the Secrets again and comparing the volume"

// TestHUP_doesNotEnd: as a sidecar and as an init container, with no API server.
func TestHUP_doesNotEnd(t *testing.T) {
	for _, oneShot := range []string{"false", "true"} {
		p := start(t, "http://127.0.0.1:1", t.TempDir(), "SECRETSYNC_ONE_SHOT="+oneShot)
		p.waitLog(`"started"`)
		for range 2 {
			p.signal(syscall.SIGHUP)
			p.waitLog(hupLine)
		}
		p.signal(syscall.SIGTERM)
		p.waitLog(`"stopped"`)
		_ = p.cmd.Wait()
		// If a one-shot run ends before anything is confirmed, it failed.
		if code, want := p.cmd.ProcessState.ExitCode(), map[string]int{"false": 0, "true": 1}[oneShot]; code != want {
			t.Errorf("ONE_SHOT=%s: exit code %d after SIGTERM, want %d", oneShot, code, want)
		}
	}
}

// api answers with a single Secret. A watch receives no events, unless the Secret is changing.
type api struct {
	lists    atomic.Int64
	changing bool
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if watch := r.FormValue("watch"); watch == "true" || watch == "1" {
		for version := 8; a.changing && r.Context().Err() == nil; version++ {
			fmt.Fprintf(w, `{"type": "MODIFIED", "object": {"kind": "Secret", "apiVersion": "v1",
				"metadata": {"name": "db", "namespace": "shop", "uid": "u", "resourceVersion": "%d"},
				"data": %s}}`, version, changed(version))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	a.lists.Add(1)
	fmt.Fprint(w, `{"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [
		{"metadata": {"name": "db", "namespace": "shop", "uid": "u", "resourceVersion": "5"},
		"data": {"password": "MQ=="}}]}`)
}

// TestHUP_storm: during 40 signals in 4 s, a round begins at once and then at most every 3 s. A
// round lists the Secrets, calls the failing webhook, and logs a line.
func TestHUP_storm(t *testing.T) {
	t.Parallel()
	a := &api{}
	server := httptest.NewServer(a)
	t.Cleanup(server.CloseClientConnections)
	var calls atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(app.Close)
	p := start(t, server.URL, t.TempDir(), "SECRETSYNC_WEBHOOK_URL="+app.URL, "SECRETSYNC_NOTIFY_FIRST=true")
	// The pauses after the third attempt are at least 1.5, 3 and 6 s.
	eventually(t, "three attempts", func() bool { return calls.Load() == 3 })
	attempts, lists, began := calls.Load(), a.lists.Load(), time.Now()
	p.signal(syscall.SIGHUP)
	p.waitLog(hupLine)
	for range 40 {
		p.signal(syscall.SIGHUP)
		time.Sleep(100 * time.Millisecond)
	}
	rounds := int64(time.Since(began)/watcher.RereadInterval) + 1
	attempts, lists = calls.Load()-attempts, a.lists.Load()-lists
	lines := int64(1)
	for len(p.log) > 0 {
		if strings.Contains(<-p.log, hupLine) {
			lines++
		}
	}
	if attempts > rounds+1 || lists > rounds || lines > rounds || min(attempts, lists, lines) < 2 {
		t.Errorf("%d calls, %d lists and %d lines, want at most %d rounds", attempts, lists, lines, rounds)
	}
}

// changed returns the data of ten keys with long names, so that the log line of a publish is long.
func changed(version int) []byte {
	data := map[string][]byte{"password": fmt.Append(nil, version)}
	for i := range 10 {
		data[fmt.Sprintf("%0250d", i)] = data["password"]
	}
	text, _ := json.Marshal(data)
	return text
}

// TestHUP_readsAgain changes a file through a hard link, which inotify does not
// report: only SIGHUP finds it before the sweep does.
func TestHUP_readsAgain(t *testing.T) {
	a := &api{}
	server := httptest.NewServer(a)
	t.Cleanup(server.CloseClientConnections)
	volume := t.TempDir()
	p := start(t, server.URL, volume)
	p.waitLog(`"published"`)

	password := filepath.Join(volume, "db", "password")
	target, err := filepath.EvalSymlinks(password)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Link(target, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte("tampered"), 0o600); err != nil {
		t.Fatal(err)
	}
	lists := a.lists.Load()
	p.signal(syscall.SIGHUP)
	p.waitLog(hupLine)
	eventually(t, "a fresh read", func() bool { return a.lists.Load() > lists })
	eventually(t, "a repair", func() bool { return readFile(t, password) == "1" })
}
