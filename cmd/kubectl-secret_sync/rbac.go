package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// newRBAC returns the command rbac. Its output equals the output of `secret-sync rbac` in the
// sidecar's image, which does not run on every system.
func newRBAC(p *plugin) *cobra.Command {
	var waiting, secret string
	c := &cobra.Command{
		Use:   "rbac [SERVICEACCOUNT]",
		Short: "Print the minimal Role and RoleBinding of a sidecar, or of wait",
		Long: "Print the minimal Role and RoleBinding of a sidecar with the variables in the environment,\n" +
			"or with --wait of an account for the command wait.",
		Example: "  SECRETSYNC_SECRETS=db kubectl secret-sync rbac app -n shop | kubectl apply -f -\n" +
			"  kubectl secret-sync rbac --wait deployer --secret db -n shop",
		Args: maxArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			namespace, err := p.namespace()
			if err != nil {
				return err
			}
			text, err := rbacText(namespace, strings.Join(args, ""), waiting, secret)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			_, err = io.WriteString(p.Out, text)
			return err
		},
	}
	c.Flags().StringVar(&waiting, "wait", "",
		"print the Role of this `account` for the command wait; requires no variable")
	c.Flags().StringVar(&secret, "secret", "", "with --wait: the `name` of the only Secret to wait for")
	return c
}

// namespace returns the namespace of the flag -n, else of the sidecar's variable, else of the
// kubeconfig.
func (p *plugin) namespace() (string, error) {
	if *p.flags.Namespace == "" && os.Getenv("POD_NAMESPACE") != "" {
		return os.Getenv("POD_NAMESPACE"), nil
	}
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

func rbacText(namespace, account, waiting, secret string) (string, error) {
	role := kube.RBAC{Namespace: namespace, ServiceAccount: waiting}
	if waiting == "" {
		var err error
		if role, err = sidecarRBAC(namespace, account); err != nil {
			return "", err
		}
	}
	if name := role.ServiceAccount; name == "default" || !isName(name) {
		return "", fmt.Errorf("service account %q: name an account that only this Pod uses", name)
	}
	if waiting != "" {
		return role.ForWait(secret), nil
	}
	return role.YAML(), nil
}

// sidecarRBAC returns the permissions of a sidecar with the variables in the environment. A Pod
// without a service account of its own runs as "default" and needs an account of its own.
func sidecarRBAC(namespace, account string) (kube.RBAC, error) {
	if own := os.Getenv("POD_SERVICE_ACCOUNT"); account == "" && own != "default" {
		account = own
	}
	role := kube.RBAC{Namespace: namespace, ServiceAccount: cmp.Or(account, "secret-sync")}
	var errs []error
	for _, variable := range []string{"SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS"} {
		for name := range strings.SplitSeq(os.Getenv(variable), ",") {
			name = strings.TrimSpace(name)
			if name != "" && !isName(name) {
				errs = append(errs, fmt.Errorf("%s: Invalid value: %q: not a valid name of a Secret", variable, name))
			}
			if name != "" {
				role.Names = append(role.Names, name)
			}
		}
	}
	role.Selector = strings.TrimSpace(os.Getenv("SECRETSYNC_SELECTOR"))
	if _, err := labels.Parse(role.Selector); err != nil {
		errs = append(errs, fmt.Errorf("SECRETSYNC_SELECTOR: %w", err))
	}
	if len(role.Names) == 0 && role.Selector == "" {
		errs = append(errs, errors.New("SECRETSYNC_SECRETS: Required value: at least one of SECRETSYNC_SECRETS, "+
			"SECRETSYNC_OPTIONAL_SECRETS and SECRETSYNC_SELECTOR must be set"))
	}
	if text := strings.TrimSpace(os.Getenv("SECRETSYNC_EVENTS")); text != "" {
		var err error
		if role.Events, err = strconv.ParseBool(text); err != nil {
			errs = append(errs, fmt.Errorf("SECRETSYNC_EVENTS: Invalid value: %q: must be true or false", text))
		}
	}
	return role, errors.Join(errs...)
}

func isName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
