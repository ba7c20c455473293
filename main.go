// Secret-sync writes the keys of selected Secrets as files to a volume shared with an app, and
// notifies the app when the files change.
//
//	secret-sync                         run until SIGTERM or SIGINT
//	secret-sync ready                   exit with code 0 if the volume holds a complete generation
//	secret-sync rbac [SERVICEACCOUNT]   print the minimal Role and RoleBinding
//	secret-sync rbac --wait ACCOUNT     print the minimal Role and RoleBinding for wait
//	secret-sync status                  print the /status document
//	secret-sync wait                    wait until every Pod uses the current version of a Secret
//	secret-sync version                 print the version
//	secret-sync help                    print every variable
//
// The environment is the only configuration. On SIGHUP, secret-sync reads the Secrets again, compares the volume with
// them, and retries failed notifications, at most every 3 s. The exit code is 0 after success, 1 after a failure at run
// time, and 2 if the environment, the arguments or the volume are invalid.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/logging"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// version is set by the linker.
var version string

func main() {
	// First: an app with the same UID in a shared process namespace could otherwise read the token through /proc.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	stderr := logging.NewWriter(os.Stderr)
	err := command(os.Args[1:], os.Stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "secret-sync:", err)
	}
	stderr.Close(flushLimit)
	os.Exit(exitCode(err))
}

// flushLimit limits how long a blocked standard error delays the end of the process.
const flushLimit = 100 * time.Millisecond

var (
	errStart = errors.New("cannot start") // until somebody changes the Pod
	errUsage = errors.New("invalid arguments")
)

func exitCode(err error) int {
	var problem *config.Problem
	switch {
	case err == nil:
		return 0
	case errors.As(err, &problem), errors.Is(err, errStart), errors.Is(err, errUsage),
		errors.Is(err, volume.ErrUnusable):
		return 2
	}
	return 1
}

// command runs the command in args, or the sidecar if there is no command.
func command(args []string, out io.Writer, stderr *logging.Writer) error {
	if len(args) == 0 {
		return run(stderr)
	}
	name, args := args[0], args[1:]
	text := config.Help
	switch name {
	case "rbac":
		return rbac(args, out)
	case "status":
		return printStatus(args, out)
	case "wait":
		return waitForPods(args, out)
	case "version", "--version":
		text = "secret-sync " + buildVersion() + "\n"
	case "ready", "help", "--help", "-h":
	default:
		return fmt.Errorf("%w: unknown command %q; the commands are ready, rbac, status, wait, version and help; "+
			"without a command, secret-sync runs the sidecar", errUsage, name)
	}
	if len(args) > 0 {
		return fmt.Errorf("%w: unexpected argument %q: %s has no arguments", errUsage, args[0], name)
	}
	if name == "ready" {
		cfg, _ := config.Load() // only SECRETSYNC_DIR counts
		return volume.Ready(cfg.Dir)
	}
	_, err := io.WriteString(out, text)
	return err
}

// parseFlags parses the flags of a command without other arguments.
func parseFlags(flags *flag.FlagSet, args []string) error {
	var text strings.Builder // the error and the flags
	flags.SetOutput(&text)
	err := flags.Parse(args)
	if err == nil && flags.NArg() == 0 {
		return nil
	} else if err == nil {
		fmt.Fprintf(&text, "unexpected argument %q\n", flags.Arg(0))
		flags.Usage()
	}
	return fmt.Errorf("%w: %s", errUsage, strings.TrimSpace(text.String()))
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); version == "" && ok {
		return info.Main.Version
	}
	return version
}
