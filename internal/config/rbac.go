package config

import (
	"cmp"
	"fmt"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// RoleArguments contains the arguments of the command rbac, which secret-sync and the kubectl plugin share.
type RoleArguments struct {
	Account   string // of the sidecar. Empty: POD_SERVICE_ACCOUNT, else secret-sync
	Wait      string // the account of the command wait. Empty: print the Role of the sidecar
	Namespace string // of Wait
	Secret    string // the only Secret of Wait. Empty: every Secret
}

// Role returns the minimal Role and RoleBinding as YAML. Its error joins a *Problem for each mistake. It rejects the
// account "default", which every Pod of the namespace can use.
func Role(args RoleArguments) (string, error) {
	role := kube.RBAC{Namespace: args.Namespace, ServiceAccount: args.Wait}
	if args.Wait == "" {
		c, err := Load()
		if err != nil {
			return "", err
		}
		if args.Account == "" && c.Pod.ServiceAccount != "default" {
			args.Account = c.Pod.ServiceAccount
		}
		role = kube.RBAC{
			Namespace: c.Pod.Namespace, ServiceAccount: cmp.Or(args.Account, "secret-sync"),
			Names: c.SecretNames(), Selector: c.Selector, Events: c.Events,
		}
	}
	if name := role.ServiceAccount; name == "default" || !isSubdomain(name) {
		return "", &Problem{"service account",
			fmt.Sprintf("Invalid value: %q: name an account that only this Pod uses", name)}
	}
	if args.Wait != "" {
		return role.ForWait(args.Secret), nil
	}
	return role.YAML(), nil
}
