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
	fmt.Printf("\nTimes are from the API server's answer to the change of the Secret, of the last of\n%d replicas; what was there before the answer is +0.0.\n\n", replicas)
	fmt.Printf("%3s  %-12s %-14s %12s %12s %12s %12s %16s %8s %7s\n",
		"", "new user", "Secret changed", "file swapped", "app notified", "new pool", "all notified", "old user dropped", "queries", "failed")
}

func (d *demo) printRotation(n int, r rotation) {
	fmt.Printf("%3d  %-12s %-14s %12s %12s %12s %12s %16s %8d %7d\n",
		n, r.user, r.changed.Format("15:04:05.000"), after(r.swapped), after(r.notified), after(r.pool), after(r.waited), after(r.dropped), r.queries, r.failed)
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
	done, failed := d.queries()
	fmt.Printf("\n%d rotations, %d queries, %d failed. Median: file swapped %s, new pool %s, all notified %s.\n",
		len(d.rotations), done, failed,
		median(func(r rotation) time.Duration { return r.swapped }),
		median(func(r rotation) time.Duration { return r.pool }),
		median(func(r rotation) time.Duration { return r.waited }))
	fmt.Println("With a Secret volume each rotation would have had to wait for about a minute (50 to 60 s\nwere measured on a kubelet), with nothing to say when, and nothing would have notified the app.")
}

// stayUp leaves everything running for the user to play with.
func (d *demo) stayUp(ctx context.Context) error {
	d.printByHand()
	lines, ended := make(chan struct{}), d.anyEnded()
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
		case err := <-ended:
			return err
		}
	}
}

func (d *demo) printByHand() {
	first := d.replicas[0]
	fmt.Printf(`
Everything is still up, and the load goes on. In another terminal:

  export KUBECONFIG=%[1]s
  kubectl -n %[2]s get secret %[3]s -o yaml
  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"note":"hello"}}'
  %[7]s wait --secret %[3]s --selector %[8]s -n %[2]s --direct
  ls -la %[4]s %[4]s/%[3]s
  cat %[4]s/%[3]s/note
  curl %[5]s%[9]s            # the app's
  curl %[6]s/status   # the sidecar's
  curl %[6]s/metrics

What must not hurt: a wrong password (the app keeps its connections), a deleted
Secret (the files stay), a deleted file (it is put back).

  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"password":"wrong"}}'
  kubectl -n %[2]s delete secret %[3]s
  rm %[4]s/%[3]s/username

Enter rotates once more. Ctrl-C ends and removes it all.
`, d.cluster.Kubeconfig(), d.namespace, secretName, first.dir, first.appURL, first.address+":"+sidecarPort, d.binary(), labels, d.app.look)
}

// anyEnded has an error when a process of a replica has ended.
func (d *demo) anyEnded() <-chan error {
	errs := make(chan error, 2*replicas)
	for _, r := range d.replicas {
		go func() { <-r.sidecar.Done(); errs <- r.ended("sidecar", r.sidecar) }()
		go func() { <-r.app.Done(); errs <- r.ended("app", r.app) }()
	}
	return errs
}

// lastLines are the ends of all logs, for an error.
func (d *demo) lastLines() string {
	var b strings.Builder
	for _, r := range d.replicas {
		fmt.Fprintf(&b, "\n%s:%s", r.name, r.lastLines())
	}
	return b.String()
}
