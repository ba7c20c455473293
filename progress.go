package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/rollout"
)

// progressPods is how many Pods one line names.
const progressPods = 3

// progress shows how far a wait is: one line that is drawn again on a terminal,
// else a line for each change.
type progress struct {
	out      *os.File
	terminal bool
	last     string
}

func newProgress(out *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	return &progress{out: out, terminal: err == nil}
}

func (p *progress) show(r rollout.Result) {
	line := progressLine(r)
	if line == p.last {
		return
	}
	p.last = line
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

// end leaves the terminal's line.
func (p *progress) end() {
	if p.terminal && p.last != "" {
		fmt.Fprintln(p.out)
	}
}

func progressLine(r rollout.Result) string {
	done, missing := 0, []string(nil)
	for _, p := range r.Pods {
		switch {
		case p.Done:
			done++
		case len(missing) < progressPods:
			missing = append(missing, fmt.Sprintf("%s (%s)", p.Name, p.Reason))
		}
	}
	line := fmt.Sprintf("%d of %d Pods are done", done, len(r.Pods))
	if len(missing) > 0 {
		line += ": waiting for " + strings.Join(missing, ", ")
	}
	if more := len(r.Pods) - done - len(missing); more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	if r.Problem != "" {
		line += "; " + r.Problem
	}
	return line
}
