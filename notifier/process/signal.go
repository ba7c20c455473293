package process

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/internal/typo"
)

// C libraries reserve the first realtime signals (32, 33) for threads, so SIGRTMIN is 34 in glibc and in kill -l.
// In musl SIGRTMIN is 35, which is RTMIN+1 here.
const (
	signalMax = 64
	rtMin     = 34
)

var (
	realtime = regexp.MustCompile(`^RT(MIN|MAX)([+-][0-9]+)?$`)
	// likeSignal matches text that is certainly meant as a signal.
	likeSignal = regexp.MustCompile(`^([A-Z0-9+-]+|(?i:sig.*|rtm.*|hangup|terminate|interrupt))$`)
	// signals are the signals of Linux from 1. The kubectl plugin parses them on every system.
	signals = strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT " +
		"STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")
	// usual are the signals of which more than a single letter can be wrong.
	usual = strings.Fields("HUP INT QUIT USR1 USR2 TERM KILL ALRM CONT STOP WINCH PIPE ABRT TTIN TTOU")
)

// ParseSignal parses a name with or without SIG, in any case (HUP, sighup), RTMIN+n, RTMAX-n, or a number.
func ParseSignal(s string) (syscall.Signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "SIG")
	number, err := strconv.Atoi(name)
	lowest := 1
	if match := realtime.FindStringSubmatch(name); match != nil {
		offset, _ := strconv.Atoi(match[2]) // 0 without an offset
		lowest, number = rtMin, offset+map[string]int{"MIN": rtMin, "MAX": signalMax}[match[1]]
	} else if err != nil {
		number = 1 + slices.Index(signals, name)
	}
	if number < lowest || number > signalMax || number == 32 || number == 33 {
		return 0, fmt.Errorf("%q is not a signal: use a name such as HUP, USR1, TERM or RTMIN+1, "+
			"or a number from 1 to 64 except 32 and 33", s)
	}
	return syscall.Signal(number), nil
}

// ParseTarget splits an entry at its last colon into a process and a signal. If the text after the colon neither is a
// signal nor looks like a misspelled signal (a letter differs, or about a third of the letters of a usual signal), the
// colon is part of the process, and the signal is the standard signal.
func ParseTarget(entry string, standard syscall.Signal) (process string, signal syscall.Signal, err error) {
	i := strings.LastIndex(entry, ":")
	if i < 0 {
		return entry, standard, nil
	}
	process, text := entry[:i], strings.TrimSpace(entry[i+1:])
	signal, err = ParseSignal(text)
	name := strings.ToUpper(text)
	name = cmp.Or(typo.Nearest(name, signals, min(1, len(name)/3)), typo.Nearest(name, usual, (len(name)+1)/3))
	switch {
	case text == "":
		err = errors.New("the signal after the colon is missing")
	case err == nil && strings.TrimSpace(process)+":"+text != entry:
		err = errors.New("remove the space beside the colon")
	case err == nil:
		return process, signal, nil
	case name != "":
		err = fmt.Errorf("%q is not a signal; did you mean %s?", text, name)
	case !likeSignal.MatchString(text):
		return entry, standard, nil
	}
	return "", 0, fmt.Errorf("%w (for a target named %q, append a signal: \"%[2]s:HUP\")", err, entry)
}

func signalName(signal syscall.Signal) string {
	if int(signal) <= len(signals) {
		return "SIG" + signals[signal-1]
	}
	return fmt.Sprintf("SIGRTMIN+%d", int(signal)-rtMin)
}

// needsHandler reports whether the signal would kill a process without a handler unintentionally, or be lost (CHLD,
// CONT, URG and WINCH). TERM, INT, QUIT and KILL are intended to end the process.
func needsHandler(signal syscall.Signal) bool {
	return !slices.Contains([]string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL"}, signalName(signal))
}

// inMask reports whether a signal mask of /proc/PID/status contains the signal.
func inMask(mask uint64, signal syscall.Signal) bool { return mask&(1<<(signal-1)) != 0 }
