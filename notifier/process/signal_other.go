//go:build !linux

package process

import (
	"slices"
	"strings"
)

// signalNumber returns the number of a signal on Linux. The kubectl plugin validates variables on every system, and
// sends no signal.
func signalNumber(name string) int {
	return 1 + slices.Index(strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM "+
		"STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"), name)
}
