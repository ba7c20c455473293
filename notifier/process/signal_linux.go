package process

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalNumber returns the number of a signal without the prefix SIG, 0 for an unknown name.
func signalNumber(name string) int { return int(unix.SignalNum("SIG" + name)) }

func signalName(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return name
	}
	return fmt.Sprintf("SIGRTMIN+%d", int(signal)-rtMin)
}

// needsHandler reports whether the signal would kill a process without a handler unintentionally, or be lost (CHLD,
// CONT, URG and WINCH). TERM, INT, QUIT and KILL are intended to end the process, and STOP cannot be handled.
func needsHandler(signal syscall.Signal) bool {
	ending := []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGKILL, unix.SIGSTOP}
	return !slices.Contains(ending, signal)
}

// inMask reports whether a signal mask of /proc/PID/status contains the signal.
func inMask(mask uint64, signal syscall.Signal) bool { return mask&(1<<(signal-1)) != 0 }
