package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type volume struct {
	Name      string
	Secret    struct{ SecretName string }
	Projected struct{ Sources []struct{ Secret reference } }
	CSI       struct{ NodePublishSecretRef reference }
}

type envVar struct {
	Name, Value string
	ValueFrom   *struct {
		SecretKeyRef reference
		FieldRef     struct{ FieldPath string }
	}
}

// A reference is a reference to an object, with an empty name if it is absent.
type reference struct{ Name string }

// A use is a way in which a Pod uses the Secret without a sidecar.
type use struct {
	text    string // "container job reads it into DB_PASSWORD at start"
	atStart bool   // the Pod reads the Secret when it starts, and never again
	oneShot bool   // by an init container with secret-sync
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

// uses returns the ways in which the Pod's spec uses the Secret, apart from sidecars.
func (o *podObject) uses(secret string) (all []use) {
	for _, v := range o.Spec.Volumes {
		all = append(all, v.uses(secret)...)
	}
	for i, c := range slices.Concat(o.Spec.InitContainers, o.Spec.Containers) {
		kind := "container"
		if i < len(o.Spec.InitContainers) {
			kind = "init container"
		}
		if names := c.environment(secret); names != "" {
			text := fmt.Sprintf("%s %s reads it into %s at start", kind, c.Name, names)
			all = append(all, use{text: text, atStart: true})
		}
		ends := i < len(o.Spec.InitContainers) && c.RestartPolicy != "Always"
		if ends && c.runsSecretSync() && c.watches(secret, o.Metadata.Annotations) != watchesNot {
			text := fmt.Sprintf("init container %s writes it to files at start", c.Name)
			all = append(all, use{text: text, atStart: true, oneShot: true})
		}
	}
	return all
}

// uses returns the ways in which the volume uses the Secret. The kubelet updates the files
// of a Secret volume, but nobody knows whether the app reads them again.
func (v volume) uses(secret string) (all []use) {
	names := []string{v.Secret.SecretName}
	for _, source := range v.Projected.Sources {
		names = append(names, source.Secret.Name)
	}
	if slices.Contains(names, secret) {
		text := fmt.Sprintf("volume %s contains it, and the app may not have read the new files", v.Name)
		all = append(all, use{text: text})
	}
	if v.CSI.NodePublishSecretRef.Name == secret {
		text := fmt.Sprintf("the CSI driver of volume %s reads it when it mounts the volume", v.Name)
		all = append(all, use{text: text, atStart: true})
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

// watches says whether a container of secret-sync watches the Secret.
type watches int

const (
	watchesMaybe watches = iota // only its answer can tell
	watchesYes
	watchesNot
)

// watches returns the answer of the container's environment. It is certain only if the
// spec contains the whole configuration.
func (c container) watches(secret string, annotations map[string]string) watches {
	certain, found := len(c.EnvFrom) == 0, false
	for _, v := range c.Env {
		switch v.Name {
		case "SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS":
			value, known := v.value(annotations)
			certain, found = certain && known, found || value != ""
			for name := range strings.SplitSeq(value, ",") {
				if strings.TrimSpace(name) == secret {
					return watchesYes
				}
			}
		case "SECRETSYNC_SELECTOR":
			value, known := v.value(annotations)
			certain = certain && known && value == ""
		}
	}
	if certain && found {
		return watchesNot
	}
	return watchesMaybe
}

// value returns the value of the variable. known is false if the spec does not contain it.
func (v envVar) value(annotations map[string]string) (value string, known bool) {
	if v.ValueFrom == nil {
		return v.Value, !strings.Contains(v.Value, "$(")
	}
	key, isAnnotation := strings.CutPrefix(v.ValueFrom.FieldRef.FieldPath, "metadata.annotations['")
	return annotations[strings.TrimSuffix(key, "']")], isAnnotation
}
