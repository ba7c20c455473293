package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secret-sync/secret-sync/internal/config"
)

// newRBAC returns the command rbac. It shares its code with `secret-sync rbac` in the sidecar's image, which does not
// run on every system.
func newRBAC(p *plugin) *cobra.Command {
	var role config.RoleArguments
	c := &cobra.Command{
		Use:   "rbac [SERVICEACCOUNT]",
		Short: "Print the minimal Role and RoleBinding of a sidecar, or of wait",
		Long: "Print the minimal Role and RoleBinding of a sidecar with the variables in the environment,\n" +
			"or with --wait of an account for the command wait.",
		Example: "  SECRETSYNC_SECRETS=db kubectl secret-sync rbac app -n shop | kubectl apply -f -\n" +
			"  kubectl secret-sync rbac --wait deployer --secret db -n shop",
		Args: maxArgs(1),
		RunE: func(_ *cobra.Command, args []string) (err error) {
			role.Account = strings.Join(args, "")
			if role.Namespace, err = p.namespace(); err != nil {
				return err
			}
			setPod(role.Namespace)
			text, err := config.Role(role)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			_, err = io.WriteString(p.Out, text)
			return err
		},
	}
	c.Flags().StringVar(&role.Wait, "wait", "",
		"print the Role of this `account` for the command wait; requires no variable")
	c.Flags().StringVar(&role.Secret, "secret", "", "with --wait: the `name` of the only Secret to wait for")
	return c
}

// setPod sets the variables that the downward API provides in a Pod. The Role contains only the namespace.
func setPod(namespace string) {
	os.Setenv("POD_NAMESPACE", namespace)
	for _, name := range []string{"POD_NAME", "POD_UID"} {
		os.Setenv(name, cmp.Or(os.Getenv(name), "any"))
	}
}
