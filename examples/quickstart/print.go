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

// step prints a line about a finished step of setUp and its duration.
func (d *demo) step(started time.Time, name, format string, args ...any) {
	fmt.Printf("%-14s %-76s %6.1f s\n", name, fmt.Sprintf(format, args...), time.Since(started).Seconds())
}

func (d *demo) printHeader() {
	fmt.Printf("\nTimes start with the API server's answer to the update of the Secret, and end with the\n"+
		"last of %d replicas. +0.0 is an event before the answer.\n\n", replicas)
	fmt.Printf("%3s  %-12s %-14s %12s %12s %12s %12s %16s %8s %7s\n",
		"", "new user", "Secret changed", "file swapped", "app notified", "new pool",
		"all notified", "old user dropped", "queries", "failed")
}

func (d *demo) printRotation(n int, r rotation) {
	fmt.Printf("%3d  %-12s %-14s %12s %12s %12s %12s %16s %8d %7d\n",
		n, r.user, r.changed.Format("15:04:05.000"), after(r.swapped), after(r.notified), after(r.pool),
		after(r.waited), after(r.dropped), r.queries, r.failed)
}

func after(t time.Duration) string {
	return fmt.Sprintf("%+.1f ms", float64(max(t, 0).Microseconds())/1000)
}

func (d *demo) printSummary() {
	if len(d.rotations) == 0 {
		return
	}
	done, failed := d.queries()
	fmt.Printf("\n%d rotations, %d queries, %d failed. Median: file swapped %s, new pool %s, all notified %s.\n",
		len(d.rotations), done, failed,
		after(d.median(func(r rotation) time.Duration { return r.swapped })),
		after(d.median(func(r rotation) time.Duration { return r.pool })),
		after(d.median(func(r rotation) time.Duration { return r.waited })))
	fmt.Println("With a Secret volume, new files arrive after about a minute (50 to 60 s, measured on a\n" +
		"kubelet), nothing reports their arrival, and nothing notifies the app.")
}

// median returns the median of a duration over all rotations.
func (d *demo) median(duration func(rotation) time.Duration) time.Duration {
	var all []time.Duration
	for _, r := range d.rotations {
		all = append(all, duration(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// stayUp keeps everything running for experiments, until Ctrl-C or the end of a process.
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
Everything is still running, and the load continues. In another terminal:

  export KUBECONFIG=%[1]s
  kubectl -n %[2]s get secret %[3]s -o yaml
  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"note":"hello"}}'
  %[7]s wait --secret %[3]s --selector %[8]s -n %[2]s --direct
  ls -la %[4]s %[4]s/%[3]s
  cat %[4]s/%[3]s/note
  curl %[5]s%[9]s            # the app
  curl %[6]s/status   # the sidecar
  curl %[6]s/metrics

Three faults that must not cause a failed query: a wrong password (the app keeps its
connections), a deleted Secret (the files stay), a deleted file (the sidecar restores it).

  kubectl -n %[2]s patch secret %[3]s -p '{"stringData":{"password":"wrong"}}'
  kubectl -n %[2]s delete secret %[3]s
  rm %[4]s/%[3]s/username

Press Enter to rotate again, or Ctrl-C to stop and remove everything.
`, d.cluster.Kubeconfig(), d.namespace, secretName, first.dir, first.appURL,
		first.address+":"+sidecarPort, d.binary(), labels, d.app.statusPath)
}

// anyEnded returns a channel that receives an error when a process of a replica ends.
func (d *demo) anyEnded() <-chan error {
	errs := make(chan error, 2*replicas)
	for _, r := range d.replicas {
		go func() { <-r.sidecar.Done(); errs <- r.ended("sidecar", r.sidecar) }()
		go func() { <-r.app.Done(); errs <- r.ended("app", r.app) }()
	}
	return errs
}

// lastLines returns the ends of all logs, for an error message.
func (d *demo) lastLines() string {
	var b strings.Builder
	for _, r := range d.replicas {
		fmt.Fprintf(&b, "\n%s:%s", r.name, r.lastLines())
	}
	return b.String()
}
