package process

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/internal/typo"
)

// likeSignal matches text certainly meant as a signal.
var likeSignal = regexp.MustCompile(`^([A-Z0-9+-]+|(?i:sig).*)$`)

// signals are the signals whose misspelled names are recognized.
var signals = []string{"HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "ALRM", "CONT", "STOP", "WINCH"}

// ParseTarget splits an entry at its last colon into a process and a signal. If the text after
// the colon neither is a signal nor looks like a misspelled signal, the colon is part of the
// process, and the signal is the standard signal.
func ParseTarget(entry string, standard syscall.Signal) (process string, signal syscall.Signal, err error) {
	i := strings.LastIndex(entry, ":")
	if i < 0 {
		return entry, standard, nil
	}
	text := entry[i+1:]
	signal, err = ParseSignal(text)
	if err == nil {
		return entry[:i], signal, nil
	}
	if name := typo.Nearest(strings.ToUpper(text), signals, 1); name != "" {
		return "", 0, fmt.Errorf("%q is not a signal; did you mean %s?", text, name)
	}
	if likeSignal.MatchString(text) {
		return "", 0, err
	}
	return entry, standard, nil
}
