package process

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/notifier"
)

// helperMode is the variable with which a test starts its own binary again, under another
// name, as a program with specific signal handling. The Go runtime handles every signal,
// so the modes set the disposition themselves.
const helperMode = "NOTIFIER_TEST_HELPER"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(helperMode); mode {
	case "":
		// Under nohup, HUP is ignored, and a shell cannot trap a signal inherited as
		// ignored. The child of a process with a handler has the default disposition.
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
		os.Exit(m.Run())
	case "refused":
		refusedMain()
	default:
		helperMain(mode)
	}
}

// helperMain prints a line per event. It ends with its standard input, and so with the
// test.
func helperMain(mode string) {
	handled := make(chan os.Signal, 100)
	switch mode {
	case "handle", "workers", "exit":
		signal.Notify(handled, unix.SIGHUP, unix.SIGUSR1, syscall.Signal(40))
	case "ignore":
		signal.Ignore(unix.SIGHUP)
	case "none": // like a C program without handlers
		for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGWINCH, unix.SIGTERM, unix.SIGINT,
			unix.SIGQUIT} {
			defaultAction(s)
		}
	}
	fmt.Println("ready")
	if mode == "workers" {
		startWorkers()
	}
	go func() {
		for s := range handled {
			fmt.Println("got", signalName(s.(syscall.Signal)))
			if mode == "exit" {
				os.Exit(0)
			}
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

// startWorkers starts two processes with the same name and prints their output.
func startWorkers() {
	for range 2 {
		worker := exec.Command("/proc/self/exe")
		worker.Args = os.Args[:1]
		worker.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"=handle")
		worker.Stdin = os.Stdin // they end with the parent's input
		out, _ := worker.StdoutPipe()
		if err := worker.Start(); err != nil {
			panic(err)
		}
		go func() { // the prefix tells their signals from the parent's
			for s := bufio.NewScanner(out); s.Scan(); {
				fmt.Println("worker", s.Text())
			}
		}()
	}
}

// defaultAction removes the handler of the runtime. On every architecture, 64 zero bytes
// are a kernel sigaction with SIG_DFL.
func defaultAction(s syscall.Signal) {
	var action [64]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		panic(errno)
	}
	runtime.KeepAlive(&action)
}

// A helper is a running program.
type helper struct {
	t     *testing.T
	cmd   *exec.Cmd
	pid   int
	lines chan string
	stop  io.WriteCloser
}

// startHelper starts a program with this name in a mode and returns once it is ready. The
// program is a child of the test; see nobody.
func startHelper(t *testing.T, name, mode string, args ...string) *helper {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil { // the kernel takes comm from the link
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"="+mode)
	return runHelper(t, cmd)
}

func runHelper(t *testing.T, cmd *exec.Cmd) *helper {
	t.Helper()
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{t: t, cmd: cmd, pid: cmd.Process.Pid, lines: make(chan string, 100), stop: in}
	go func() {
		defer close(h.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			h.lines <- s.Text()
		}
	}()
	t.Cleanup(h.end)
	h.expect("ready")
	return h
}

func (h *helper) end() {
	h.stop.Close()
	for range h.lines { // to its end
	}
	h.cmd.Wait()
}

// expect fails the test unless the next line is want.
func (h *helper) expect(want string) {
	h.t.Helper()
	select {
	case got, ok := <-h.lines:
		if !ok {
			h.t.Fatalf("process %d ended, want %q", h.pid, want)
		}
		if got != want {
			h.t.Fatalf("process %d printed %q, want %q", h.pid, got, want)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatalf("process %d printed nothing, want %q", h.pid, want)
	}
}

// alive fails the test unless the process is alive and received no signal. It closes the
// input of the process, which ends it, so it must be the last call.
func (h *helper) alive() {
	h.t.Helper()
	h.stop.Close()
	for line := range h.lines {
		h.t.Errorf("process %d printed %q, want nothing", h.pid, line)
	}
	if err := h.cmd.Wait(); err != nil {
		h.t.Errorf("process %d was signaled: %v", h.pid, err)
	}
}

// nobody is an unused PID. A target with this PID does not treat the children of the
// test as its own children.
const nobody = 1 << 30

func newByName(name string, opts Options) *Target {
	opts.Name = name
	return newTarget(opts)
}

func newTarget(opts Options) *Target {
	opts.Logger, opts.Warn = slog.New(slog.DiscardHandler), func(string) {}
	if opts.Interval == nil {
		opts.Interval = notifier.NewInterval(0)
	}
	p := New(opts)
	p.self = nobody
	return p
}

var uniqueCount int

// unique returns a process name unused by other tests.
func unique() string {
	uniqueCount++
	return "ss" + strconv.Itoa(os.Getpid()%100000) + "-" + strconv.Itoa(uniqueCount)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	testsupport.WantError(t, err, parts...)
}
