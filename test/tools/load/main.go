// Command load measures the cost of secret-sync with a real etcd and kube-apiserver on
// this machine, and prints tables:
//
//	go run -C test ./tools/load -h
//
// Nothing else should run at the same time, because the servers, the sidecars and the
// measurements share the cores. Only root can measure PSS, because the sidecar makes
// itself undumpable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	only      string
	plot      string
	others    int
	sidecars  int
	rotations int
	puts      int
	starts    int
	idle      time.Duration
	binary    string
}

// measurements are listed in the order in which they run.
var measurements = []struct {
	name string
	run  func(*bench) error
}{
	{"memory", (*bench).memory},
	{"start", (*bench).start},
	{"latency", (*bench).latency},
	{"limits", (*bench).limits},
	{"idle", (*bench).idle},
	{"fleet", (*bench).fleet},
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == informerCommand {
		exit(runInformer())
	}
	var o options
	flags := newFlags(&o)
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// newFlags returns the flags of this program only. Libraries register further flags in
// flag.CommandLine.
func newFlags(o *options) *flag.FlagSet {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	flags.StringVar(&o.only, "only", "", "of memory,start,latency,limits,idle,fleet; all if empty")
	flags.StringVar(&o.plot, "plot", "", "write the plot of memory to this SVG file")
	flags.IntVar(&o.others, "others", 5000, "how many other Secrets, of 8 KB each, are in the namespace")
	flags.IntVar(&o.sidecars, "sidecars", 100, "how many sidecars in the fleet")
	flags.IntVar(&o.rotations, "rotations", 10, "how often the fleet's Secret is rotated")
	flags.IntVar(&o.puts, "puts", 200, "how many changes the latency is measured with")
	flags.IntVar(&o.starts, "starts", 30, "how many starts are measured")
	flags.DurationVar(&o.idle, "idle", 2*time.Minute, "how long to observe an idle sidecar")
	flags.StringVar(&o.binary, "binary", "", "measure this secret-sync instead of building one")
	return flags
}

func run(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, m := range measurements {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+m.name+",") {
			continue
		}
		if err := m.run(b); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
