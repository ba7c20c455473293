package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// account returns the service account of the Pod.
func (w *workload) account() string { return cmp.Or(w.spec.ServiceAccountName, "default") }

// need returns the permissions that the sidecars of the Pod need together. known is false if the
// spec does not contain all of their variables.
func (w *workload) need() (r kube.RBAC, known bool) {
	r, known = kube.RBAC{Namespace: w.namespace, ServiceAccount: w.account()}, true
	for _, s := range w.sidecars {
		_, names, namesKnown := s.secrets()
		selector, events := s.variable("SECRETSYNC_SELECTOR"), s.variable("SECRETSYNC_EVENTS")
		r.Names = append(r.Names, names...)
		r.Selector = cmp.Or(r.Selector, selector.value)
		r.Events = r.Events || events.isTrue()
		known = known && namesKnown && selector.known && events.known && len(names)+len(selector.value) > 0
	}
	return r, known
}

// checkRole: the service account of the Pod has the permissions of the sidecars, and no other
// permissions for Secrets.
func checkRole(c *checker) {
	need, known := c.need()
	if !known {
		return
	}
	if c.account() == "default" {
		c.add(Warning, "role", c.specPath(), "the Pod runs as the service account default, like other Pods",
			"set `serviceAccountName` to an account that only this Pod uses")
	}
	if c.Cluster != nil {
		checkAllowed(c, need)
	} else {
		checkRoleText(c, need)
	}
}

// checkAllowed asks the API server for the permissions of the service account.
func checkAllowed(c *checker, need kube.RBAC) {
	allowed := func(verb, resource, name string) bool {
		ok, err := c.Cluster.Allowed(c.ctx, c.namespace, c.account(), verb, resource, name)
		if err != nil {
			c.unknown(c.accountPath(), "cannot review the access of service account %s: %v", c.account(), err)
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
	checkExcess(c, need)
}

// checkExcess asks for verbs that the sidecars do not need: for every Secret of the namespace, and
// then for each of their Secrets. RBAC cannot limit create by a name.
func checkExcess(c *checker, need kube.RBAC) {
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
			if needed || name != "" && slices.Contains(everywhere, verb) {
				continue
			}
			ok, err := c.Cluster.Allowed(c.ctx, c.namespace, c.account(), verb, "secrets", name)
			if err == nil && ok {
				excess = append(excess, verb)
			}
		}
		if name == "" {
			everywhere = excess
		}
		if len(excess) > 0 {
			c.add(Warning, "role-too-wide", c.accountPath(),
				fmt.Sprintf("service account %s may %s %s", c.account(), strings.Join(excess, ", "), object),
				"apply the Role that `kubectl secret-sync rbac` prints, and remove the other bindings")
		}
	}
}

func addMissing(c *checker, rule string) {
	c.add(Error, "role", c.accountPath(), fmt.Sprintf("no Role grants access to service account %s", c.account()),
		fmt.Sprintf("add the rule %s, which `kubectl secret-sync rbac` prints", rule))
}

func (w *workload) accountPath() path { return w.specPath("serviceAccountName") }

// checkSecrets: the Secrets of the sidecar and their keys exist. A Secret that is not in the
// input may exist in the cluster.
func checkSecrets(c *checker, s sidecar) {
	required, all, _ := s.secrets()
	keys := s.keys()
	for _, name := range all {
		found, exists, decided := c.secretKeys(name, len(keys[name]) > 0)
		at := s.variable("SECRETSYNC_SECRETS").path
		switch {
		case !decided:
		case !exists && slices.Contains(required, name):
			c.add(Error, "secret", at, fmt.Sprintf("the Secret %s does not exist in namespace %s", name, c.namespace),
				"create it, correct the name, or move it to SECRETSYNC_OPTIONAL_SECRETS")
		case exists:
			for _, key := range slices.Sorted(maps.Keys(keys[name])) {
				if !slices.Contains(found, key) {
					c.add(Error, "secret-key", keys[name][key], fmt.Sprintf("the Secret %s has no key %q", name, key),
						"add the key to the Secret, or correct its name here")
				}
			}
		}
	}
}

// secretKeys returns the names of the keys of a Secret. decided is false if the Secret is not in
// the input and there is no cluster.
func (c *checker) secretKeys(name string, names bool) (keys []string, exists, decided bool) {
	for _, o := range c.Objects {
		if o.GetKind() != "Secret" || o.GetName() != name ||
			cmp.Or(o.GetNamespace(), c.Input.Namespace) != c.namespace {
			continue
		}
		for _, field := range []string{"data", "stringData"} {
			content, _ := o.UnstructuredContent()[field].(map[string]any)
			keys = slices.AppendSeq(keys, maps.Keys(content))
		}
		return keys, true, true
	}
	if c.Cluster == nil {
		return nil, false, false
	}
	keys, exists, err := c.Cluster.SecretKeys(c.ctx, c.namespace, name, names)
	if err != nil {
		c.unknown(c.accountPath(), "cannot read the Secret %s: %v", name, err)
	}
	return keys, exists, err == nil
}

// keys returns the keys that the sidecar requires, by Secret, with the variables that list them.
// An entry is secret/key, with =path for a file, and with +key for each further key of the file.
func (s sidecar) keys() map[string]map[string]path {
	all := map[string]map[string]path{}
	for _, name := range []string{"SECRETSYNC_REQUIRED_KEYS", "SECRETSYNC_ITEMS", "SECRETSYNC_ENV_FILES"} {
		v := s.variable(name)
		for _, entry := range v.list() {
			entry, _, _ = strings.Cut(entry, "=")
			secret, keys, listed := strings.Cut(entry, "/")
			if listed && all[secret] == nil {
				all[secret] = map[string]path{}
			}
			for key := range strings.SplitSeq(keys, "+") {
				if listed {
					all[secret][key] = v.path
				}
			}
		}
	}
	return all
}

// checkOtherUse: the Pod uses the Secret only through the sidecar. The kubelet changes a volume
// late and a variable never.
func checkOtherUse(c *checker, s sidecar) {
	_, names, _ := s.secrets()
	report := func(at path, secret, how string) {
		if slices.Contains(names, secret) {
			c.add(Warning, "other-use", at, fmt.Sprintf("%s in addition to the sidecar", fmt.Sprintf(how, secret)),
				"let the app read the files of the sidecar")
		}
	}
	for i, v := range c.spec.Volumes {
		at := c.specPath("volumes", i)
		if v.Secret != nil {
			report(at.add("secret"), v.Secret.SecretName, "volume "+v.Name+" contains the Secret %s")
		}
		if v.Projected != nil {
			for j, source := range v.Projected.Sources {
				if source.Secret != nil {
					report(at.add("projected", "sources", j), source.Secret.Name,
						"volume "+v.Name+" contains the Secret %s")
				}
			}
		}
		if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
			report(at.add("csi"), v.CSI.NodePublishSecretRef.Name,
				"the CSI driver of volume "+v.Name+" reads the Secret %s")
		}
	}
	for _, app := range c.containers() {
		checkEnvironment(app, report)
	}
}

func checkEnvironment(app container, report func(at path, secret, how string)) {
	for i, v := range app.Env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
			report(app.path.add("env", i), v.ValueFrom.SecretKeyRef.Name,
				"container "+app.Name+" reads the Secret %s into "+v.Name)
		}
	}
	for i, from := range app.EnvFrom {
		if from.SecretRef != nil {
			report(app.path.add("envFrom", i), from.SecretRef.Name,
				"container "+app.Name+" reads the Secret %s into variables")
		}
	}
}
