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
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test binary, started again under another name with this variable, is a
// program with the signal handling that a test needs. A Go program has handlers
// of its runtime for every signal; these modes set the real disposition.
const helperMode = "NOTIFIER_TEST_HELPER"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(helperMode); mode {
	case "":
		// Under nohup HUP is ignored, and a shell cannot trap what it inherits as
		// ignored. A child of a process with a handler has the default.
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
		os.Exit(m.Run())
	case "reaper":
		reaperMain()
	case "refused":
		refusedMain()
	default:
		helperMain(mode)
	}
}

// helperMain says what happens on its standard output, and ends when its
// standard input does, which is with the test.
func helperMain(mode string) {
	handled := make(chan os.Signal, 100)
	switch mode {
	case "handle", "workers":
		signal.Notify(handled, unix.SIGHUP, unix.SIGUSR1, syscall.Signal(40))
	case "ignore":
		signal.Ignore(unix.SIGHUP)
	case "none": // as a C program that has no handler
		for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGWINCH, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
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
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}

// startWorkers starts two processes of the same name, and says what they say.
func startWorkers() {
	for range 2 {
		worker := exec.Command("/proc/self/exe")
		worker.Args = os.Args[:1]
		worker.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"=handle")
		worker.Stdin = os.Stdin // they end with their parent's
		out, _ := worker.StdoutPipe()
		if err := worker.Start(); err != nil {
			panic(err)
		}
		go func() { // so that their signals are seen as theirs
			for s := bufio.NewScanner(out); s.Scan(); {
				fmt.Println("worker", s.Text())
			}
		}()
	}
}

// defaultAction takes away the runtime's handler. Sixty-four bytes of zeroes are
// SIG_DFL in the kernel's struct of every architecture.
func defaultAction(s syscall.Signal) {
	var action [64]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		panic(errno)
	}
	runtime.KeepAlive(&action)
}

// helper is a program that runs.
type helper struct {
	t     *testing.T
	cmd   *exec.Cmd
	pid   int
	lines chan string
	stop  io.WriteCloser
}

// startHelper runs a program called name in a mode, and returns once it is ready.
// It is our child, so the target under test has to take another number for its
// own; see nobody.
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

// expect fails unless this is the next line.
func (h *helper) expect(want string) {
	h.t.Helper()
	select {
	case got, ok := <-h.lines:
		if !ok {
			h.t.Fatalf("process %d ended, want %q", h.pid, want)
		}
		if got != want {
			h.t.Fatalf("process %d says %q, want %q", h.pid, got, want)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatalf("process %d says nothing, want %q", h.pid, want)
	}
}

// alive fails unless the process lives and has got no signal: its end is a fact
// once its input is closed, so it is asked only at the end of a test.
func (h *helper) alive() {
	h.t.Helper()
	h.stop.Close()
	for line := range h.lines {
		h.t.Errorf("process %d says %q, want nothing", h.pid, line)
	}
	if err := h.cmd.Wait(); err != nil {
		h.t.Errorf("process %d was not to be signalled: %v", h.pid, err)
	}
}

// nobody is a number that no process has. A target that takes it for its own does
// not take the test's children for its own.
const nobody = 1 << 30

func newByName(name string, opts Options) *ByName {
	opts.Logger = slog.New(slog.DiscardHandler)
	p := NewByName(name, opts)
	p.self = nobody
	return p
}

// unique is a name for a process that no other test's process has.
var uniqueCount int

func unique() string {
	uniqueCount++
	return "ss" + strconv.Itoa(os.Getpid()%100000) + "-" + strconv.Itoa(uniqueCount)
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error = %q, want %q in it", err, part)
		}
	}
}
