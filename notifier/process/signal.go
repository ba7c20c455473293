package process

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The C libraries keep the first realtime signals of the kernel (32, 33) for
// their threads; SIGRTMIN is 34 in glibc and in kill -l. (musl begins at 35:
// there RTMIN+1 of the app is RTMIN+2 here, or the number.)
const (
	signalMax = 64
	rtMin     = 34
)

var realtime = regexp.MustCompile(`^RT(MIN|MAX)([+-][0-9]+)?$`)

// ParseSignal takes a signal by name, with or without SIG, in any case (HUP,
// sighup), as RTMIN+n or RTMAX-n, or by number.
func ParseSignal(s string) (syscall.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "SIG")
	number, err := strconv.Atoi(name)
	least := 1
	if match := realtime.FindStringSubmatch(name); match != nil {
		offset, _ := strconv.Atoi(match[2]) // 0 for none
		least, number = rtMin, rtMin+offset
		if match[1] == "MAX" {
			number = signalMax + offset
		}
	} else if err != nil {
		number = int(unix.SignalNum("SIG" + name))
	}
	if number < least || number > signalMax || number == 32 || number == 33 {
		return 0, fmt.Errorf("%q is no signal: a name such as HUP, USR1 or TERM, RTMIN+1, or a number from 1 to 64 (not 32 and 33, which are the C library's)", s)
	}
	return syscall.Signal(number), nil
}

func signalName(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return name
	}
	return fmt.Sprintf("SIGRTMIN+%d", int(signal)-rtMin)
}

// needsHandler reports whether the app notices the signal only with a handler.
// That is not so for those that are meant to end it, nor for STOP, which can have
// none. The default of most others is to kill, and of CHLD, CONT, URG and WINCH to
// do nothing.
func needsHandler(signal syscall.Signal) bool {
	return !slices.Contains([]syscall.Signal{
		unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGKILL, unix.SIGSTOP,
	}, signal)
}

// inMask reports whether a mask of /proc/PID/status has the signal.
func inMask(mask uint64, signal syscall.Signal) bool { return mask&(1<<(signal-1)) != 0 }
