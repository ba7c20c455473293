package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// checkSecrets: the Secrets of the sidecar and their keys exist. A Secret that is not in the
// input may exist in the cluster.
func checkSecrets(c *checker, s manifest.Sidecar) {
	required, all, _ := s.Secrets()
	keys := s.Keys()
	for _, name := range all {
		found, exists, decided := c.secretKeys(name, len(keys[name]) > 0)
		at := s.Variable("SECRETSYNC_SECRETS").Path
		switch {
		case !decided:
		case !exists && slices.Contains(required, name):
			c.add(Error, "secret", at, fmt.Sprintf("the Secret %s does not exist in namespace %s", name, c.Namespace),
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
			cmp.Or(o.GetNamespace(), c.DefaultNamespace) != c.Namespace {
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
	keys, exists, err := c.Cluster.SecretKeys(c.ctx, c.Namespace, name, names)
	if err != nil {
		c.unknown(c.AccountPath(), "cannot read the Secret %s: %v", name, err)
	}
	return keys, exists, err == nil
}

// checkOtherUse: the Pod uses the Secret only through the sidecar. The kubelet changes a volume
// late and a variable never.
func checkOtherUse(c *checker, s manifest.Sidecar) {
	_, names, _ := s.Secrets()
	report := func(at manifest.Path, secret, how string) {
		if slices.Contains(names, secret) {
			c.add(Warning, "other-use", at, fmt.Sprintf("%s in addition to the sidecar", fmt.Sprintf(how, secret)),
				"let the app read the files of the sidecar")
		}
	}
	for i, v := range c.Spec.Volumes {
		at := c.SpecPath("volumes", i)
		if v.Secret != nil {
			report(at.Add("secret"), v.Secret.SecretName, "volume "+v.Name+" contains the Secret %s")
		}
		if v.Projected != nil {
			for j, source := range v.Projected.Sources {
				if source.Secret != nil {
					report(at.Add("projected", "sources", j), source.Secret.Name,
						"volume "+v.Name+" contains the Secret %s")
				}
			}
		}
		if v.CSI != nil && v.CSI.NodePublishSecretRef != nil {
			report(at.Add("csi"), v.CSI.NodePublishSecretRef.Name,
				"the CSI driver of volume "+v.Name+" reads the Secret %s")
		}
	}
	for _, app := range c.Containers() {
		checkEnvironment(app, report)
	}
}

func checkEnvironment(app manifest.Container, report func(at manifest.Path, secret, how string)) {
	for i, v := range app.Env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
			report(app.Path.Add("env", i), v.ValueFrom.SecretKeyRef.Name,
				"container "+app.Name+" reads the Secret %s into "+v.Name)
		}
	}
	for i, from := range app.EnvFrom {
		if from.SecretRef != nil {
			report(app.Path.Add("envFrom", i), from.SecretRef.Name,
				"container "+app.Name+" reads the Secret %s into variables")
		}
	}
}
