//go:build programs

package programs

import (
	"flag"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var intervals = flag.Int("intervals", 0, "measure intervals between two signals with this number of pairs each")

// A repetition is a program that receives two signals within an interval.
type repetition struct {
	base   string // program of the table
	from   string // text in its command
	to     string // text in its place
	signal syscall.Signal
}

const uwsgiWorkers, pumaThreads = "--processes 2 --module app", "-w 0 {testdata}/web/config.ru"

var repetitions = map[string]repetition{
	"uWSGI, 1 worker":      {"uWSGI", uwsgiWorkers, "--processes 1 --module app", syscall.SIGHUP},
	"uWSGI, 2 workers":     {"uWSGI", "", "", syscall.SIGHUP},
	"uWSGI, 4 workers":     {"uWSGI", uwsgiWorkers, "--processes 4 --module app", syscall.SIGHUP},
	"uWSGI, lazy-apps":     {"uWSGI", uwsgiWorkers, "--lazy-apps " + uwsgiWorkers, syscall.SIGHUP},
	"uWSGI, threads":       {"uWSGI", uwsgiWorkers, "--threads 4 " + uwsgiWorkers, syscall.SIGHUP},
	"uWSGI, slow":          {"uWSGI", uwsgiWorkers, "--processes 2 --module slow", syscall.SIGHUP},
	"uWSGI, slow lazy":     {"uWSGI", uwsgiWorkers, "--lazy-apps --processes 2 --module slow", syscall.SIGHUP},
	"Puma, single":         {"Puma, single mode", "", "", syscall.SIGUSR2},
	"Puma, single slow":    {"Puma, single mode", "config.ru", "slow.ru", syscall.SIGUSR2},
	"Puma, 1 worker USR1":  {"Puma, 1 worker", "", "", syscall.SIGUSR1},
	"Puma, 2 workers USR1": {"Puma, 2 workers", "", "", syscall.SIGUSR1},
	"Puma, 1 worker USR2":  {"Puma, 1 worker", "", "", syscall.SIGUSR2},
	"Puma, 2 workers USR2": {"Puma, 2 workers", "", "", syscall.SIGUSR2},
	"Puma, preload USR2":   {"Puma, 2 workers", "-w 2", "-w 2 --preload", syscall.SIGUSR2},
}

// TestInterval measures whether a program survives two signals at an interval, if it starts
// again at each signal. It survives a pair if it neither ends nor hangs, and then serves the
// version that was published immediately before the second signal. The sidecar only writes
// the files.
func TestInterval(t *testing.T) {
	if *intervals == 0 {
		t.Skip("takes an hour: -intervals 20")
	}
	for name, r := range repetitions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := find(r.base)
			if p.command = strings.Replace(p.command, r.from, r.to, 1); !strings.Contains(p.command, r.to) {
				t.Fatalf("the command contains no %q", r.from)
			}
			tr := newTrial(t, p, way{want: follows})
			n := int64(2)
			for _, interval := range []time.Duration{100, 250, 500, 1000, 2000, 3000, 5000} {
				interval *= time.Millisecond
				results := map[string]int{}
				for range *intervals {
					results[tr.pair(n, r.signal, interval)]++
					n += 2
				}
				t.Logf("RESULT %s, %v: %v", name, interval, results)
			}
		})
	}
}

func find(name string) program {
	for _, p := range programs {
		if p.name == name {
			return p
		}
	}
	panic(name)
}

// hangs is the time after which a program without the newest version counts as hanging.
const hangs = 10 * time.Second

// rest is the time between the use of a version and the next pair. A program can serve requests before its start ends.
const rest = 2 * time.Second

// pair sends two signals, with a new version before each, and returns the result. After a failure, it starts the
// program again.
func (tr *trial) pair(n int64, signal syscall.Signal, interval time.Duration) (result string) {
	tr.T.Helper()
	<-time.After(rest)
	tr.ended.Store(0) // waitUsed limits the number
	tr.publish(n)
	tr.send(signal)
	<-time.After(interval)
	tr.publish(n + 1)
	tr.send(signal)
	for deadline := time.Now().Add(hangs); tr.uses(n+1) != nil; {
		switch {
		case tr.ended.Load() > 0:
			result = "ends"
		case time.Now().Before(deadline):
			continue
		case tr.uses(n) == nil || tr.uses(n-1) == nil:
			result = "keeps an old version"
		default:
			result = "hangs"
		}
		tr.KillAll() // the program starts again
		tr.waitUsed(n + 1)
		return result
	}
	if tr.ended.Load() > 0 {
		return "ends"
	}
	return "survives"
}

// send signals the program, if it has not ended.
func (tr *trial) send(signal syscall.Signal) { _ = tr.current.Load().Signal(signal) }

// publish waits until the sidecar has written the version n.
func (tr *trial) publish(n int64) {
	tr.T.Helper()
	tr.rotate(n)
	testsupport.Eventually(tr.T, "the file", func() error {
		if got := st.Read(tr.T, tr.at.Secrets+"/n"); got != fmt.Sprint(n) {
			return fmt.Errorf("version %s", got)
		}
		return nil
	})
}
