//go:build programs

package programs

import (
	"flag"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

var intervals = flag.Bool("intervals", false, "measure the shortest interval between two signals")

// TestInterval measures the shortest interval between two signals that a program survives, if
// it executes itself again at each signal. A round is a pair of signals. The program survives a
// round if it neither ends nor hangs, and then serves the newest version. The sidecar only
// writes the files.
func TestInterval(t *testing.T) {
	if !*intervals {
		t.Skip("takes minutes: -intervals")
	}
	for name, signal := range map[string]syscall.Signal{"Puma, single mode": syscall.SIGUSR2, "uWSGI": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, interval := range []time.Duration{50, 100, 200, 350, 500, 750, 1000} {
				interval *= time.Millisecond
				t.Run(interval.String(), func(t *testing.T) {
					t.Logf("%s, %v: survived %d of 10", name, interval, survived(t, find(name), signal, interval))
				})
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

// survived returns the number of survived rounds of ten.
func survived(t *testing.T, p program, signal syscall.Signal, interval time.Duration) (count int) {
	tr := newTrial(t, p, way{want: follows})
	for round := range int64(10) {
		n, ends := 2+2*round, tr.ended.Load()
		tr.rotate(n)
		tr.waitFile(n)
		tr.send(signal)
		tick := time.After(interval)
		tr.rotate(n + 1)
		tr.waitFile(n + 1)
		<-tick
		tr.send(signal)
		deadline := time.Now().Add(20 * time.Second)
		for tr.ended.Load() == ends && p.probe(tr.at, n+1) != nil && time.Now().Before(deadline) {
			<-time.After(50 * time.Millisecond)
		}
		if tr.ended.Load() == ends && p.probe(tr.at, n+1) == nil {
			count++
			continue
		}
		tr.KillAll() // the program starts again
		tr.waitUsed(n + 1)
	}
	return count
}

func (tr *trial) send(signal syscall.Signal) {
	tr.T.Helper()
	if err := tr.current.Load().Signal(signal); err != nil {
		tr.T.Fatal(err)
	}
}

// waitFile waits until the sidecar has written the version n.
func (tr *trial) waitFile(n int64) {
	tr.T.Helper()
	testsupport.Eventually(tr.T, "the file", func() error {
		if got := st.Read(tr.T, tr.at.Secrets+"/n"); got != fmt.Sprint(n) {
			return fmt.Errorf("version %s", got)
		}
		return nil
	})
}
