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
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

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
	var problem *config.Problem
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
		return inspect.Ready(cfg.Dir)
	case name == "version", name == "--version":
		_, err := fmt.Fprintln(out, "secret-sync", buildVersion())
		return err
	case name == "help", name == "--help", name == "-h":
		_, err := io.WriteString(out, config.Help)
		return err
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

// namespaceOrDefault is the namespace that a flag names, or the present one.
func namespaceOrDefault(flag string) string {
	return cmp.Or(flag, os.Getenv("POD_NAMESPACE"), kube.Namespace())
}
