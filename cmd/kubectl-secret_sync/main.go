// Kubectl-secret_sync is a kubectl plugin for the users of secret-sync.
//
//	kubectl secret-sync check [TYPE/NAME ...]   report mistakes in the specs of workloads
//	kubectl secret-sync rbac [SERVICEACCOUNT]   print the minimal Role and RoleBinding
//	kubectl secret-sync status SECRET           show the version of a Secret in every Pod
//	kubectl secret-sync wait --secret NAME      wait until every Pod uses the current version
//
// It accepts the standard flags of kubectl. The exit code is 0 after success, 1 after a failure,
// and 2 if the arguments are invalid.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the login methods of kubeconfig files
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// version is set by the linker.
var version string

// commands are the constructors of the subcommands.
var commands = []func(*plugin) *cobra.Command{
	newCheck,
	newRBAC,
	newStatus,
	newWait,
}

// A plugin contains the parts that all commands share.
type plugin struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags
}

var errUsage = errors.New("invalid arguments")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := run(ctx, os.Args, streams)
	stop()
	os.Exit(code)
}

// run runs the command in args, whose first element is the name of the program, and returns
// the exit code.
func run(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := newRoot(streams)
	root.SetArgs(completionArgs(args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(streams.ErrOut, "secret-sync:", text)
	}
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// completionArgs returns the arguments of the program. To complete a command line of a plugin,
// kubectl runs a second program with the prefix kubectl_complete-, which can be a link to this
// program.
func completionArgs(args []string) []string {
	if strings.HasPrefix(filepath.Base(args[0]), "kubectl_complete-") {
		return append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return args[1:]
}

func newRoot(streams genericiooptions.IOStreams) *cobra.Command {
	p := &plugin{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:           "kubectl-secret_sync",
		Short:         "Check, observe and wait for Pods with secret-sync",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl secret-sync"},
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownCommand,

		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	p.flags.AddFlags(root.PersistentFlags())
	for _, newCommand := range commands {
		root.AddCommand(newCommand(p))
	}
	return root
}

// unknownCommand is the root command. It prints the help if there are no arguments.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return root.Help()
	}
	hint := "kubectl secret-sync --help lists the commands"
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + near[0] + "?"
	}
	return fmt.Errorf("%w: unknown command %q; %s", errUsage, args[0], hint)
}

// config returns the configuration of a client for the cluster. Without any configuration, kubectl's libraries would
// connect to a port of this machine.
func (p *plugin) config() (*rest.Config, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	raw, err := p.flags.ToRawKubeConfigLoader().RawConfig()
	if err == nil && api.IsConfigEmpty(&raw) && config.Host == clientcmd.ClusterDefaults.Server &&
		*p.flags.APIServer == "" {
		return nil, fmt.Errorf("%w: no cluster is configured: set KUBECONFIG, --kubeconfig or --server", errUsage)
	}
	return config, nil
}

// client returns a client of the cluster. command is a part of its name in the audit log.
func (p *plugin) client(command string) (*kube.Client, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-secret-sync-" + command + "/" + buildVersion()
	return kube.NewClient(config)
}

// namespace returns the namespace of the flag -n, else of the sidecar's variable, else of the kubeconfig.
func (p *plugin) namespace() (string, error) {
	if *p.flags.Namespace == "" && os.Getenv("POD_NAMESPACE") != "" {
		return os.Getenv("POD_NAMESPACE"), nil
	}
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		err = fmt.Errorf("%w: %w", errUsage, err)
	}
	return namespace, err
}

// maxArgs returns a check for at most n arguments.
func maxArgs(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("%w: unexpected argument %q", errUsage, args[n])
		}
		return nil
	}
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version == "" && ok {
		return info.Main.Version
	}
	return version
}
