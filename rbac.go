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
	if account == "" && cfg.ServiceAccount != "default" {
		account = cfg.ServiceAccount
	}
	return kube.RBAC{
		Namespace: cfg.Namespace, ServiceAccount: cmp.Or(account, "secret-sync"),
		Names: cfg.SecretNames(), Selector: cfg.Selector, Events: cfg.Events,
	}
}
