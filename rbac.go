package main

import (
	"cmp"
	"flag"
	"io"
	"strings"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
)

// rbac prints the minimal Role and RoleBinding of the sidecar or of wait.
func rbac(args []string, out io.Writer) error {
	var role config.RoleArguments
	flags := flag.NewFlagSet("rbac", flag.ContinueOnError)
	flags.StringVar(&role.Wait, "wait", "",
		"print the Role of this `account` for the command wait; requires no variable")
	flags.StringVar(&role.Namespace, "n", "", "with --wait: the `namespace`")
	flags.StringVar(&role.Secret, "secret", "", "with --wait: the `name` of the only Secret to wait for")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		role.Account, args = args[0], args[1:]
	}
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	role.Namespace = cmp.Or(role.Namespace, kube.Namespace())
	text, err := config.Role(role)
	if err == nil {
		_, err = io.WriteString(out, text)
	}
	return err
}
