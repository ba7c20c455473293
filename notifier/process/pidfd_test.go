package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/notifier"
)

// TestNotify_withoutPidfd: without a pidfd the target uses the PID and logs a single warning. A
// seccomp filter rejects the system call in the test binary, which runs as the sidecar.
func TestNotify_withoutPidfd(t *testing.T) {
	for _, test := range []struct {
		name  string
		call  int
		errno unix.Errno
	}{
		{"no pidfd_open", unix.SYS_PIDFD_OPEN, unix.ENOSYS},
		{"seccomp", unix.SYS_PIDFD_OPEN, unix.EPERM},
		{"no pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, unix.ENOSYS},
		{"seccomp for the second call", unix.SYS_PIDFD_SEND_SIGNAL, unix.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := unique()
			h := startHelper(t, name, "handle")
			cmd := exec.Command("/proc/self/exe", strconv.Itoa(test.call), strconv.Itoa(int(test.errno)), name)
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", helperMode+"=refused")
			log, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, log)
			}
			h.expect("got SIGHUP")
			h.expect("got SIGHUP")
			if got := strings.Count(string(log), "no pidfd available"); got != 1 {
				t.Errorf("%d warnings, want 1:\n%s", got, log)
			}
		})
	}
}

// refusedMain signals a process twice while the kernel rejects a system call.
func refusedMain() {
	call, _ := strconv.Atoi(os.Args[1])
	errno, _ := strconv.Atoi(os.Args[2])
	refuse(call, errno)
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	p := New(Options{Name: os.Args[3], Signal: unix.SIGHUP, Check: true, Logger: log, Warn: func(string) {},
		Interval: notifier.NewInterval(0)})
	for range 2 {
		if err := p.Notify(context.Background(), notifier.Changes{}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(100 * time.Millisecond) // two pending signals would be combined
	}
}

// refuse installs a seccomp filter in all threads of this process.
func refuse(call, errno int) {
	const load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	const equal, ret = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load}, // number of the system call
		{Code: equal, Jf: 1, K: uint32(call)},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		panic(e)
	}
	runtime.UnlockOSThread()
}
