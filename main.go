// Secret-sync keeps the keys of chosen Secrets as files in a volume that it
// shares with an app, and tells the app when they changed.
//
//	secret-sync                         run until SIGTERM or SIGINT
//	secret-sync ready                   exit 0 once a complete generation is in the volume
//	secret-sync rbac [SERVICEACCOUNT]   print the least Role and RoleBinding
//	secret-sync version
//	secret-sync help                    every variable
//
// The environment is its only configuration. It exits with 0 when it is done,
// 1 when it gave up at run time (a time-out of the first sync), and 2 when the
// environment is wrong: every mistake is listed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/watcher"
	"github.com/secret-sync/secret-sync/writer"
)

// version is set by the linker.
var version string

func main() {
	// Before there is anything to read: without it, an app of the same UID in a
	// shared process namespace reads the token through /proc.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	err := command(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "secret-sync:", err)
	}
	os.Exit(exitCode(err))
}

// errEnvironment marks what only another environment can mend.
var errEnvironment = errors.New("the environment is wrong")

func exitCode(err error) int {
	var mistakes config.MistakesError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &mistakes), errors.Is(err, errEnvironment), errors.Is(err, writer.ErrUnusable):
		return 2
	default:
		return 1
	}
}

func command(args []string, out io.Writer) error {
	name := "run"
	if len(args) > 0 {
		name = args[0]
	}
	switch {
	case name == "run" && len(args) == 0:
		return run()
	case name == "rbac" && len(args) <= 2:
		return rbac(args[1:], out)
	case len(args) > 1:
	case name == "ready":
		return writer.Ready(config.DirForReady())
	case name == "version", name == "--version":
		_, err := fmt.Fprintln(out, "secret-sync", buildVersion())
		return err
	case name == "help", name == "--help", name == "-h":
		return config.Help(out)
	}
	return fmt.Errorf("%w: there is no command %q: it is one of ready, rbac [SERVICEACCOUNT], version, help, or none to run", errEnvironment, args)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// rbac prints what the service account needs. It is never "default": every Pod
// of the namespace that names no other would have the Secrets.
func rbac(args []string, out io.Writer) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	account := cfg.ServiceAccount
	if account == "" || account == "default" {
		account = "secret-sync"
	}
	if len(args) > 0 {
		account = args[0]
	}
	if account == "default" || len(validation.IsDNS1123Subdomain(account)) > 0 {
		return fmt.Errorf("%w: %q cannot be the service account: give the name of one that only this Pod uses", errEnvironment, account)
	}
	_, err = io.WriteString(out, watcher.RBAC{
		Namespace: cfg.Namespace, ServiceAccount: account,
		Names: names(cfg), Selector: cfg.Selector, Events: cfg.Events,
	}.YAML())
	return err
}

func names(cfg config.Config) []string { return slices.Concat(cfg.Secrets, cfg.OptionalSecrets) }

// oneProcessor lets one goroutine run at a time, which is enough for all there
// is to do. On a second core others would only wake up beside it: of what it
// writes inotify tells at once. And Go keeps caches and threads for each core,
// which for 64 are 2.3 MB. What the user sets, GOMAXPROCS, stays.
func oneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// run is the sidecar, and with ONE_SHOT the init container.
func run() error {
	// Before all else, so that there is no moment in which a signal is an unclean
	// end. The first one ends it in order; after that a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	oneProcessor()
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	log := logger(cfg)
	a, err := assemble(cfg, log)
	if err != nil {
		return err
	}
	log.Info("started", "version", buildVersion(), "namespace", cfg.Namespace, "secrets", names(cfg), "selector", cfg.Selector, "path", cfg.Dir)
	err = errors.Join(a.run(ctx), a.writer.Close())
	log.Info("stopped")
	return err
}

func logger(cfg config.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogText {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}
