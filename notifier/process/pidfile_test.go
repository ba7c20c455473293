package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/notification"
	"github.com/secret-sync/secret-sync/notifier"
)

func byFile(path string) *Target {
	return newTarget(Options{PIDFile: path, Signal: unix.SIGHUP, Check: true})
}

// TestPIDFile_namesTheProcess: the number is in the first line, with or without white space.
func TestPIDFile_namesTheProcess(t *testing.T) {
	path := t.TempDir() + "/pid"
	for _, text := range []string{"%d", "%d\n", " \n\t%d \r\n", "%d\n/var/lib/postgresql\n1700000000\n5432\n"} {
		h := startHelper(t, unique(), "handle")
		write(t, path, fmt.Sprintf(text, h.pid))
		if err := byFile(path).Notify(t.Context(), notifier.Changes{}); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		h.expect("got SIGHUP")
	}
}

// TestPIDFile_rejected: the error names the path and the reason.
func TestPIDFile_rejected(t *testing.T) {
	dir := t.TempDir()
	gone := startHelper(t, unique(), "handle")
	gone.end()
	for name, text := range map[string]string{
		"begin with a number   ":  "",
		"begin with a number    ": " \n ",
		"begin with a number":     "app",
		"begin with a number ":    "0x10",
		"begin with a number  ":   "12 34",
		"above 1":                 "1\n",
		"above 1 ":                "0",
		"above 1  ":               "-1",
		"above 1   ":              "-123\n",
		"number":                  "99999999999999999999",
		"at most 4096 bytes":      strings.Repeat("7", 5000),
		"does not exist":          strconv.Itoa(gone.pid),
		"is secret-sync itself":   strconv.Itoa(os.Getpid()),
	} {
		path := filepath.Join(dir, "pid")
		write(t, path, text)
		p := byFile(path)
		p.self = os.Getpid()
		wantError(t, p.Notify(t.Context(), notifier.Changes{}), strings.TrimSpace(name), path)
	}
	wantError(t, byFile(dir+"/none").Notify(t.Context(), notifier.Changes{}), "no such file")
	wantError(t, byFile(dir).Notify(t.Context(), notifier.Changes{}), "not a regular file")
	wantError(t, byFile("/dev/zero").Notify(t.Context(), notifier.Changes{}), "not a regular file")
}

// TestPIDFile_isAFIFO: opening a FIFO without a writer must not block.
func TestPIDFile_isAFIFO(t *testing.T) {
	path := t.TempDir() + "/pid"
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, byFile(path).Notify(t.Context(), notifier.Changes{}), "not a regular file")
}

// TestPIDFile_reused: the PID in the file was given to a process started long after the file
// was written.
func TestPIDFile_reused(t *testing.T) {
	path := t.TempDir() + "/pid"
	h := startHelper(t, unique(), "handle")
	write(t, path, strconv.Itoa(h.pid))
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	wantError(t, byFile(path).Notify(t.Context(), notifier.Changes{}), "PID was reused")
	h.alive()
}

// TestPIDFile_ofAThread: the PID of a thread is rejected.
func TestPIDFile_ofAThread(t *testing.T) {
	path := t.TempDir() + "/pid"
	h := startHelper(t, unique(), "handle")
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", h.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.Name() != strconv.Itoa(h.pid) {
			write(t, path, task.Name())
			wantError(t, byFile(path).Notify(t.Context(), notifier.Changes{}), "is a thread")
			break
		}
	}
	h.alive()
}

// TestPIDFile_appears: a new file is read within pidFileRetry, even if the backoff is already
// seconds.
func TestPIDFile_appears(t *testing.T) {
	for name, appear := range map[string]func(t *testing.T, path, text string){
		"written": write,
		"renamed": func(t *testing.T, path, text string) {
			write(t, path+".new", text)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, dir := range []string{"", "/run/app"} { // the directory appears as well
			program := unique()
			t.Run(name+dir, func(t *testing.T) {
				t.Parallel()
				pidFileAppears(t, program, t.TempDir()+dir, appear)
			})
		}
	}
}

func pidFileAppears(t *testing.T, program, dir string, appear func(t *testing.T, path, text string)) {
	h := startHelper(t, program, "handle")
	n := notifier.New(notifier.Options{
		Targets: []notifier.Target{{Name: "process", Key: "process",
			Notify: byFile(dir + "/pid").Notify}}, Volume: pending{},
		Logger: slog.New(slog.DiscardHandler), Report: func(string, error) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for n.Status()[0].Failed < 5 { // the backoff alone is 6 s or more
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	appear(t, dir+"/pid", strconv.Itoa(h.pid))
	h.expect("got SIGHUP")
	if took := time.Since(began); took > 6*pidFileRetry {
		t.Errorf("signaled %v after the file appeared, want about %v", took, pidFileRetry)
	}
}

// pending is a volume with a pending notification.
type pending struct{}

func (pending) Newest() uint64                       { return 2 }
func (pending) ChangesSince(uint64) notifier.Changes { return notifier.Changes{Generation: 2} }
func (pending) TargetRecords() (map[string]notification.TargetRecord, bool) {
	return map[string]notification.TargetRecord{"other": {Notified: 1}}, false
}
func (pending) SetTargetRecord(string, notification.TargetRecord) error { return nil }

// FuzzParsePID: no text in a PID file names PID 1, which is the sandbox of the Pod, or a process group.
func FuzzParsePID(f *testing.F) {
	for _, s := range []string{"1", "2", "7\n", " 7 \nx", "-2", "99999999999", "\x00", "+7"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "pid")
		write(t, path, string(data))
		if pid, _, err := New(Options{PIDFile: path}).readFile(); err == nil && pid <= 1 {
			t.Errorf("%q = %d", data, pid)
		}
	})
}
