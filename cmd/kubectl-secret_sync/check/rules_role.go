package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/access"
	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
	"github.com/secret-sync/secret-sync/internal/kube"
)

// account returns the service account of the Pod.
func account(w *manifest.Workload) access.Account {
	return access.Account{Namespace: w.Namespace, Name: w.Account()}
}

// need returns the permissions that the sidecars of a Pod need together. known is false if the spec does not contain
// all of their variables.
func need(w *manifest.Workload) (r kube.RBAC, known bool) {
	r, known = kube.RBAC{Namespace: w.Namespace, ServiceAccount: w.Account()}, true
	for _, s := range w.Sidecars {
		_, names, namesKnown := s.Secrets()
		selector, events := s.Variable("SECRETSYNC_SELECTOR"), s.Variable("SECRETSYNC_EVENTS")
		r.Names = append(r.Names, names...)
		r.Selector = cmp.Or(r.Selector, selector.Value)
		r.Events = r.Events || events.IsTrue()
		known = known && namesKnown && selector.Known && events.Known && len(names)+len(selector.Value) > 0
	}
	return r, known
}

// checkRole: the service account of the Pod has the permissions of the sidecars, and no other permissions for
// Secrets.
func checkRole(c *checker) {
	need, known := need(c.Workload)
	if !known {
		return
	}
	if c.Account() == "default" {
		c.add(Warning, "role", c.SpecPath(), "the Pod runs as the service account default, like other Pods",
			"set `serviceAccountName` to an account that only this Pod uses")
	}
	if c.Cluster == nil {
		checkRoleText(c, need)
		return
	}
	checkAllowed(c, need)
	bindings, err := c.Cluster.Bindings(c.ctx, c.Namespace)
	if err != nil {
		c.unknown(c.AccountPath(), "check does not notice access of service account %s to other Secrets by name: %v",
			c.Account(), err)
	}
	grants, _ := c.grants(account(c.Workload).Bindings(bindings, ""))
	addExcess(c, grants, need)
	checkExcess(c, need, grants)
}

// checkRoleText compares the Roles of the input with the permissions that the sidecars need.
func checkRoleText(c *checker, need kube.RBAC) {
	bindings := account(c.Workload).Bindings(c.Objects, c.DefaultNamespace)
	if len(bindings) == 0 {
		c.add(Warning, "role", c.AccountPath(),
			fmt.Sprintf("the input contains no RoleBinding for service account %s", c.Account()),
			"add the output of `kubectl secret-sync rbac`, or check the workload in the cluster")
		return
	}
	grants, complete := c.grants(bindings)
	if missing := access.Missing(grants, need); missing != "" && complete {
		addMissing(c, missing)
	}
	addExcess(c, grants, need)
}

// grants returns the rules of the bound roles. complete is false if a role cannot be read.
func (c *checker) grants(bindings []access.Binding) (all []access.Grant, complete bool) {
	complete = true
	for _, b := range bindings {
		namespace := ""
		if b.Role.Kind == "Role" {
			namespace = c.Namespace
		}
		role := c.object(b.Role.Kind, namespace, b.Role.Name)
		switch {
		case role != nil:
			all = append(all, access.Grants(role)...)
		case c.Cluster == nil:
			complete = false
			c.addTo(b.Object, Note, "unknown", manifest.Path{"roleRef"},
				fmt.Sprintf("the input does not contain the %s %s", b.Role.Kind, b.Role.Name),
				"check the workload in the cluster")
		}
	}
	return all, complete
}

func addMissing(c *checker, rule string) {
	c.add(Error, "role", c.AccountPath(), fmt.Sprintf("no Role grants access to service account %s", c.Account()),
		fmt.Sprintf("add the rule %s, which `kubectl secret-sync rbac` prints", rule))
}

// addExcess reports the rules that exceed the need of all workloads of the input with the account.
func addExcess(c *checker, grants []access.Grant, shared kube.RBAC) {
	for _, o := range c.Objects {
		w, err := manifest.NewWorkload(o, c.DefaultNamespace)
		if err != nil || w == nil || account(w) != account(c.Workload) {
			continue
		}
		other, _ := need(w)
		shared.Names = append(shared.Names, other.Names...)
		shared.Selector = cmp.Or(shared.Selector, other.Selector)
		shared.Events = shared.Events || other.Events
	}
	for _, g := range access.Excess(grants, shared) {
		c.addTo(g.Role, Warning, "role-too-wide", g.Path, "the rule grants more than the sidecar needs",
			"use only the rule "+access.Text(shared))
	}
}

// checkAllowed asks the API server for the permissions that the sidecars need.
func checkAllowed(c *checker, need kube.RBAC) {
	allowed := func(verb, resource, name string) bool {
		ok, err := c.Cluster.Allowed(c.ctx, account(c.Workload), verb, resource, name)
		if err != nil {
			c.unknown(c.AccountPath(), "cannot review the access of service account %s: %v", c.Account(), err)
		}
		return ok || err != nil
	}
	var missing []string
	names := need.Names
	if need.Selector != "" {
		names = []string{""}
	}
	for _, name := range names {
		if !allowed(kube.VerbList, "secrets", name) || !allowed(kube.VerbWatch, "secrets", name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		addMissing(c, kube.MissingRule(kube.VerbList,
			slices.DeleteFunc(missing, func(n string) bool { return n == "" })...))
	}
	if need.Events && !allowed("create", "events", "") {
		addMissing(c, `{apiGroups: [""], resources: [events], verbs: [create]}`)
	}
}

// checkExcess asks for verbs that neither the sidecars need nor the grants contain: for every Secret of the
// namespace, and then for each of their Secrets. RBAC cannot limit create by a name.
func checkExcess(c *checker, need kube.RBAC, grants []access.Grant) {
	var everywhere []string
	for _, name := range append([]string{""}, need.Names...) {
		object := "the Secret " + name
		verbs := []string{"get", "update", "patch", "delete"}
		if name == "" {
			object = "every Secret of the namespace"
			verbs = []string{"get", kube.VerbList, kube.VerbWatch, "create", "update", "patch", "delete"}
		}
		var excess []string
		for _, verb := range verbs {
			needed := need.Selector != "" && (verb == kube.VerbList || verb == kube.VerbWatch)
			if needed || slices.Contains(everywhere, verb) || access.Allow(grants, verb, "secrets", name) {
				continue
			}
			ok, err := c.Cluster.Allowed(c.ctx, account(c.Workload), verb, "secrets", name)
			if err == nil && ok {
				excess = append(excess, verb)
			}
		}
		if name == "" {
			everywhere = excess
		}
		if len(excess) > 0 {
			c.add(Warning, "role-too-wide", c.AccountPath(),
				fmt.Sprintf("service account %s may %s %s", c.Account(), strings.Join(excess, ", "), object),
				"apply the Role that `kubectl secret-sync rbac` prints, and remove the other bindings")
		}
	}
}
