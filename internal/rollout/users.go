package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A use is a way in which a Pod uses the Secret without a sidecar.
type use struct {
	text    string // "container job reads it into DB_PASSWORD at start"
	atStart bool   // the Pod reads the Secret when it starts, and never again
}

// clockSkew is the greatest allowed difference between the clocks of two API servers. It also
// covers the age of a kubelet's cache.
const clockSkew = 10 * time.Second

// problem returns the reason why the Pod may use old data, "" if it does not. changed is an
// upper bound for the time of the last change, zero if none is known.
func (u use) problem(created, changed time.Time) string {
	switch {
	case !u.atStart:
		return "unknown: " + u.text
	case !changed.IsZero() && created.After(changed.Add(clockSkew)):
		return ""
	}
	return u.text
}

// uses returns the ways in which the Pod's spec uses the Secret, apart from sidecars. hasSidecar
// reports whether a sidecar may update the files of an init container with secret-sync.
func (o *podObject) uses(secret string, hasSidecar bool) (all []use) {
	add := func(atStart bool, format string, args ...any) {
		all = append(all, use{fmt.Sprintf(format, args...), atStart})
	}
	for _, v := range o.Spec.Volumes {
		names := []string{v.Secret.SecretName}
		for _, source := range v.Projected.Sources {
			names = append(names, source.Secret.Name)
		}
		if slices.Contains(names, secret) { // the kubelet updates the files
			add(false, "volume %s contains it, and the app may not have read the new files", v.Name)
		}
		if v.CSI.NodePublishSecretRef.Name == secret {
			add(true, "the CSI driver of volume %s reads it when it mounts the volume", v.Name)
		}
	}
	for _, c := range o.containers() {
		kind := "container"
		if c.init {
			kind = "init container"
		}
		if names := c.environment(secret); names != "" {
			add(true, "%s %s reads it into %s at start", kind, c.Name, names)
		}
		if c.init && c.mayWatch(secret) && !hasSidecar {
			add(true, "init container %s writes it to files at start", c.Name)
		}
	}
	return all
}

// environment returns the variables into which the container reads the Secret, "" for none.
func (c container) environment(secret string) string {
	var names []string
	for _, v := range c.Env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef.Name == secret {
			names = append(names, v.Name)
		}
	}
	for _, from := range c.EnvFrom {
		if from.SecretRef.Name == secret {
			names = append(names, "variables "+from.Prefix+"*")
		}
	}
	return strings.Join(names, ", ")
}
