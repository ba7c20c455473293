// Command quickstart demonstrates secret-sync on a machine with nothing installed but Go:
//
//	go run -C examples ./quickstart
//
// It starts a real etcd and kube-apiserver, a database, and three replicas. Each replica
// consists of a sidecar and an app under a load of queries. The service account of the
// sidecars gets the permissions in the output of `secret-sync rbac`, and no others.
//
// Then the quickstart rotates the database credentials. For each rotation it creates a
// user, updates the Secret, waits with `secret-sync wait` until every app has reloaded,
// and immediately drops the old user. It prints the time of each step. A failed query
// fails the quickstart.
//
// The default app is examples/app. With -app python, node or java, the quickstart runs a
// recipe from examples/recipes, if its language is installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
	"golang.org/x/sys/unix"
)

// options contains the flags.
type options struct {
	once       bool
	rotations  int
	app        string
	interval   time.Duration
	workers    int
	kubeconfig string
	dsn        string
	verbose    bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == mysqlserver.Command {
		os.Exit(mysqlserver.Main())
	}
	var o options
	flags := newFlags(&o)
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: unexpected argument %q; -h lists the flags\n", flags.Arg(0))
		os.Exit(2)
	}
	chosen, err := findApp(o.app)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(2)
	}
	endWithGoRun()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go endOnSignal(cancel)
	err = run(ctx, o, chosen)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "\nquickstart:", err)
		os.Exit(1)
	}
	if ctx.Err() != nil && o.once {
		os.Exit(1) // interrupted before the end
	}
}

// newFlags returns the flags of this program. It does not use flag.CommandLine, because
// the library of the database adds its own flags there.
func newFlags(o *options) *flag.FlagSet {
	flags := flag.NewFlagSet("quickstart", flag.ExitOnError)
	flags.StringVar(&o.app, "app", "go", "`language` of the app: go, python, node or java, if installed")
	flags.BoolVar(&o.once, "once", false, "exit after the rotations, with code 1 if a query failed")
	flags.IntVar(&o.rotations, "rotations", 6, "`number` of rotations")
	flags.DurationVar(&o.interval, "interval", time.Second, "time between two rotations")
	flags.IntVar(&o.workers, "workers", 4, "concurrent clients of each app")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "",
		"use the cluster of this `file`, in a new namespace that is deleted at the end")
	flags.StringVar(&o.dsn, "dsn", "",
		"use the database at this `URL`, whose user may create users:\n"+
			"mysql://root:PASSWORD@HOST:3306/NAME or postgres://postgres:PASSWORD@HOST/NAME?sslmode=…")
	flags.BoolVar(&o.verbose, "v", false, "print the logs of the sidecars, the apps and the database")
	return flags
}

func run(ctx context.Context, o options, a app) (err error) {
	d := &demo{options: o, app: a}
	defer func() { err = errors.Join(err, d.cleanUp()) }()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	if err := d.rotateAll(ctx); err != nil {
		return err
	}
	d.printSummary()
	if err := d.verdict(); err != nil || o.once {
		return err
	}
	return d.stayUp(ctx)
}

// show returns a function that prints the log lines of a process if -v is set.
func (d *demo) show(name string) func(string) {
	if !d.options.verbose {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintf(os.Stderr, "%13s | %s\n", name, line) }
}

// freeAddr returns a free port on host, as HOST:PORT.
func freeAddr(host string) (string, error) {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// endOnSignal calls cancel at the first signal and exits at a second Ctrl-C. It ignores
// a second SIGTERM: if `go run` is killed, the kernel sends a SIGTERM for each of its
// threads.
func endOnSignal(cancel context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	<-signals
	cancel()
	for sig := range signals {
		if sig == syscall.SIGINT {
			os.Exit(1) // the kernel kills the children
		}
	}
}

// endWithGoRun asks the kernel for a SIGTERM when `go run` is killed, because `go run`
// does not pass signals on.
func endWithGoRun() {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if strings.TrimSpace(string(comm)) == "go" {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	}
}
