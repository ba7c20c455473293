// Secret-sync keeps the keys of chosen Secrets as files in a volume that it
// shares with an app, and notifies the app when they change.
//
//	secret-sync                         run until SIGTERM or SIGINT
//	secret-sync ready                   exit 0 once a complete generation is in the volume
//	secret-sync rbac [SERVICEACCOUNT]   print the least Role and RoleBinding
//	secret-sync rbac --wait ACCOUNT     print those that wait needs
//	secret-sync status                  print what /status answers
//	secret-sync wait                    wait until every Pod is on a Secret's present version
//	secret-sync version
//	secret-sync help                    print every variable
//
// The environment is its only configuration. SIGHUP makes it look at the Secrets
// and at the volume again. It exits with 0 when it is done, 1 when it gave up at
// run time (a timeout of the first sync), and 2 when the environment is wrong:
// everything that is wrong is listed.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/writer"
	"github.com/secret-sync/secret-sync/writer/inspect"
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

var (
	errEnvironment = errors.New("the environment is wrong") // until it is changed
	errUsage       = errors.New("wrong use")                // of the arguments
)

// parseFlags parses the arguments of a subcommand, and takes no others.
func parseFlags(flags *flag.FlagSet, args []string) error {
	var text strings.Builder // what is wrong, and the flags
	flags.SetOutput(&text)
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = errUsage
		fmt.Fprintf(&text, "what is %q?\n", flags.Arg(0))
		flags.Usage()
	}
	if err != nil {
		return fmt.Errorf("%w: %s", errUsage, strings.TrimSpace(text.String()))
	}
	return nil
}

func exitCode(err error) int {
	var problem *field.Error // of config.Load
	switch {
	case err == nil:
		return 0
	case errors.As(err, &problem), errors.Is(err, errEnvironment), errors.Is(err, errUsage), errors.Is(err, writer.ErrUnusable):
		return 2
	default:
		return 1
	}
}

func command(args []string, out io.Writer) error {
	if len(args) == 0 {
		return run()
	}
	switch name, args := args[0], args[1:]; {
	case name == "rbac":
		return rbac(args, out)
	case name == "status":
		return printStatus(args, out)
	case name == "wait":
		return waitForPods(args, out)
	case len(args) > 0: // the others take none
	case name == "ready":
		cfg, _ := config.Load()
		return inspect.Ready(cfg.Dir.Value)
	case name == "version", name == "--version":
		_, err := fmt.Fprintln(out, "secret-sync", buildVersion())
		return err
	case name == "help", name == "--help", name == "-h":
		return config.Help(out)
	}
	return fmt.Errorf("%w: there is no command %q: it is one of ready, rbac [SERVICEACCOUNT | --wait ACCOUNT], "+
		"status [-o json|text], wait --secret NAME --selector SELECTOR, version, help, or none to run", errUsage, args)
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version == "" && ok {
		return info.Main.Version
	}
	return version
}

// rbac prints what the service account needs.
func rbac(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("rbac", flag.ContinueOnError)
	waiting := flags.String("wait", "", "print what this `account` needs to run wait; no variable has to be set")
	namespace := flags.String("n", "", "with --wait: the `namespace`")
	secret := flags.String("secret", "", "with --wait: the `name` of the only Secret that is waited for")
	account := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		account, args = args[0], args[1:]
	}
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	role := kube.RBAC{Namespace: namespaceOrDefault(*namespace), ServiceAccount: *waiting}
	if *waiting == "" {
		cfg, err := config.Load()
		if err != nil {
			return err
		}
		role = sidecarRBAC(cfg, account)
	}
	if name := role.ServiceAccount; name == "default" || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Errorf("%w: %q cannot be the service account: give the name of an account that only this Pod uses", errUsage, name)
	}
	text := role.YAML()
	if *waiting != "" {
		text = role.ForWait(*secret)
	}
	_, err := io.WriteString(out, text)
	return err
}

// sidecarRBAC is what the sidecar's account needs. A Pod without an account of its
// own runs as "default", like others of the namespace: it is to get one.
func sidecarRBAC(cfg *config.Config, account string) kube.RBAC {
	if account == "" && cfg.ServiceAccount.Value != "default" {
		account = cfg.ServiceAccount.Value
	}
	return kube.RBAC{
		Namespace: cfg.Namespace.Value, ServiceAccount: cmp.Or(account, "secret-sync"),
		Names: names(cfg), Selector: cfg.Selector.Value, Events: cfg.Events.Value,
	}
}

func names(cfg *config.Config) []string {
	return slices.Concat(cfg.Secrets.Value, cfg.OptionalSecrets.Value)
}

// run is the sidecar, and with ONE_SHOT the init container.
func run() error {
	// Signals come first, so that none is an unclean end. The first TERM or INT
	// ends the program in order, and after that a second one kills. A HUP waits
	// in the channel until there is something to look at.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	useOneProcessor()
	limitMemory(memoryLimitFiles...)
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	log := newLogger(cfg)
	a, err := assemble(cfg, log)
	if err != nil {
		return fmt.Errorf("%w: %w", errEnvironment, err)
	}
	log.Info("started", "version", buildVersion(), "namespace", cfg.Namespace.Value,
		"secrets", names(cfg), "selector", cfg.Selector.Value, "path", cfg.Dir.Value,
		"memory_limit", debug.SetMemoryLimit(-1))
	err = errors.Join(a.run(ctx, hup), a.writer.Close())
	log.Info("stopped")
	return err
}

func newLogger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel.Value)) // one of four names
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat.Value == "text" {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}

// useOneProcessor lets one goroutine run at a time, which is enough for all
// there is to do. On a second core others would only wake up beside it: inotify
// reports what it writes at once. And Go keeps caches and threads for each core,
// which for 64 are 2.3 MB. GOMAXPROCS, if the user sets it, stays.
func useOneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// memoryLimitFiles hold the container's own memory limit in bytes, for cgroup v2
// and v1, as a container with a cgroup namespace sees them.
var memoryLimitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory keeps Go to 3/8 of what the container may use. A memory volume
// counts against the same limit, at up to five generations of the Secrets, and so
// can some 10 MiB of the binary. Measured with five Secrets of 900 KB that
// change eight times, and a volume of 22 MiB; the example's limit is 64 MiB:
//
//	Go's limit   none    32    24    20 MiB
//	peak RSS       42    39    31    28 MiB
//	CPU          0.35  0.37  0.44  0.62 s
func limitMemory(files ...string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return // the runtime has read it
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // "max" and no file at all: no limit
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			debug.SetMemoryLimit(limit / 8 * 3)
			return
		}
	}
}
