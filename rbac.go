package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/config"
	"github.com/secret-sync/secret-sync/internal/kube"
)

// rbac prints the minimal Role and RoleBinding of the sidecar or of wait.
func rbac(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("rbac", flag.ContinueOnError)
	waiting := flags.String("wait", "", "print the Role of this `account` for the command wait; requires no variable")
	namespace := flags.String("n", "", "with --wait: the `namespace`")
	secret := flags.String("secret", "", "with --wait: the `name` of the only Secret to wait for")
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
		if account == "" && cfg.Pod.ServiceAccount != "default" { // "default" is shared with other Pods
			account = cfg.Pod.ServiceAccount
		}
		role = kube.RBAC{
			Namespace: cfg.Pod.Namespace, ServiceAccount: cmp.Or(account, "secret-sync"),
			Names: cfg.SecretNames(), Selector: cfg.Selector, Events: cfg.Events,
		}
	}
	if name := role.ServiceAccount; name == "default" || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Errorf("%w: service account %q: name an account that only this Pod uses", errUsage, name)
	}
	text := role.YAML()
	if *waiting != "" {
		text = role.ForWait(*secret)
	}
	_, err := io.WriteString(out, text)
	return err
}
