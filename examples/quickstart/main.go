// Command quickstart shows secret-sync at work, with nothing installed but Go:
//
//	go run -C examples ./quickstart
//
// It starts a real etcd and kube-apiserver, a database, and three replicas of a
// sidecar, with a service account that may do just what `secret-sync rbac` asks
// for, and of an app under a load of queries. Then it rotates the database
// credentials: it makes a new user, changes the Secret, waits with `secret-sync
// wait` until every app has reloaded, and drops the old user at once. It shows
// what happens when, and no query may fail.
//
// The app is the one in Go, or, with -app python, node or java, a recipe of
// examples/recipes, where that language is installed.
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

// options are the flags.
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
		fmt.Fprintf(os.Stderr, "quickstart: %q is not understood; -h lists the flags\n", flags.Arg(0))
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
		os.Exit(1) // broken off: not a success
	}
}

// newFlags gives the flags of this program alone: libraries add theirs to
// flag.CommandLine.
func newFlags(o *options) *flag.FlagSet {
	flags := flag.NewFlagSet("quickstart", flag.ExitOnError)
	flags.StringVar(&o.app, "app", "go", "the `language` of the app: go, python, node or java, where it is installed")
	flags.BoolVar(&o.once, "once", false, "end after the rotations: exit 0, or 1 if a query failed")
	flags.IntVar(&o.rotations, "rotations", 6, "how many `times` to rotate")
	flags.DurationVar(&o.interval, "interval", time.Second, "how long to load the app between two rotations")
	flags.IntVar(&o.workers, "workers", 4, "how many clients each app has at once")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "use the cluster of this `file`, in a namespace of its own, which is removed at the end")
	flags.StringVar(&o.dsn, "dsn", "", "use this database: a `URL` with a user that may create users,\nmysql://root:PASSWORD@HOST:3306/NAME or postgres://postgres:PASSWORD@HOST/NAME?sslmode=…")
	flags.BoolVar(&o.verbose, "v", false, "show the logs of the sidecar, the app and the database")
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

// show gives what prints a process's log lines when they are asked for.
func (d *demo) show(name string) func(string) {
	if !d.options.verbose {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintf(os.Stderr, "%13s | %s\n", name, line) }
}

// freeAddr is a free port of a loopback address.
func freeAddr(host string) (string, error) {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// endOnSignal cleans up at the first signal, and does not wait for that after a
// second Ctrl-C. A second SIGTERM is nothing: the kernel sends one for each
// thread of `go run` when that is killed.
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

// endWithGoRun has the kernel tell this program when `go run` was killed, which
// does not hand a kill on.
func endWithGoRun() {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if strings.TrimSpace(string(comm)) == "go" {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	}
}
