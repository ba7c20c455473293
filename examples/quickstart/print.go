package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// step prints one line of the setting up, with the time it took.
func (d *demo) step(started time.Time, what, format string, args ...any) {
	fmt.Printf("%-14s %-76s %6.1f s\n", what, fmt.Sprintf(format, args...), time.Since(started).Seconds())
}

func (d *demo) printHeader() {
	fmt.Printf("\nTimes are from the API server's answer to the change of the Secret; what was\nthere before the answer is +0.0.\n\n")
	fmt.Printf("%3s  %-12s %-14s %12s %12s %12s   %-12s %8s %7s\n",
		"", "now user", "Secret changed", "file swapped", "app told", "new pool", "old password", "queries", "failed")
}

func (d *demo) printRotation(n int, r rotation) {
	fmt.Printf("%3d  %-12s %-14s %12s %12s %12s   %-12s %8d %7d\n",
		n, r.user, r.changed.Format("15:04:05.000"), after(r.swapped), after(r.told), after(r.pool), "refused", r.queries, r.failed)
}

func after(t time.Duration) string {
	return fmt.Sprintf("%+.1f ms", float64(max(t, 0).Microseconds())/1000)
}

func (d *demo) printSummary() {
	median := func(of func(rotation) time.Duration) string {
		var all []time.Duration
		for _, r := range d.rotations {
			all = append(all, of(r))
		}
		slices.Sort(all)
		return after(all[len(all)/2])
	}
	if len(d.rotations) == 0 {
		return
	}
	fmt.Printf("\n%d rotations, %d queries, %d failed. Median: file swapped %s, app told %s, new pool %s.\n",
		len(d.rotations), d.load.done.Load(), d.load.failed.Load(),
		median(func(r rotation) time.Duration { return r.swapped }),
		median(func(r rotation) time.Duration { return r.told }),
		median(func(r rotation) time.Duration { return r.pool }))
}

// stayUp leaves everything running for the user to play with.
func (d *demo) stayUp(ctx context.Context) error {
	d.printByHand()
	lines := make(chan struct{})
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			fmt.Println("\ncleaning up")
			return d.verdict()
		case <-lines:
			if err := d.rotate(ctx); err != nil {
				return err
			}
		case <-d.sidecar.Done():
			return fmt.Errorf("the sidecar ended: %s%s", d.sidecar.State(), d.lastWords())
		case <-d.app.Done():
			return fmt.Errorf("the app ended: %s%s", d.app.State(), d.lastWords())
		}
	}
}

func (d *demo) printByHand() {
	fmt.Printf(`
Everything is still up, and the load goes on. In another terminal:

  export KUBECONFIG=%[1]s
  kubectl -n %[2]s get secret %[3]s -o yaml
  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"note":"hello"}}'
  ls -la %[4]s %[4]s/%[3]s
  cat %[4]s/%[3]s/note
  curl %[5]s/status
  curl %[6]s/metrics

What must not hurt: a wrong password (the app keeps its connections), a deleted
Secret (the files stay), a deleted file (it is put back).

  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"password":"wrong"}}'
  kubectl -n %[2]s delete secret %[3]s
  rm %[4]s/%[3]s/username

Enter rotates once more. Ctrl-C ends and removes it all.
`, d.cluster.Kubeconfig(), d.namespace, secretName, d.dir, d.appURL, d.sidecarURL)
}

// lastWords are the ends of the logs, for an error.
func (d *demo) lastWords() string {
	var b strings.Builder
	for _, l := range []struct {
		name string
		log  interface{ Tail(int) string }
	}{{"sidecar", &d.sidecarLog}, {"app", &d.appLog}} {
		fmt.Fprintf(&b, "\n%s's last words:\n%s", l.name, l.log.Tail(8))
	}
	return b.String()
}
