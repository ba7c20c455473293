package manifest

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A Sidecar is a container that runs secret-sync.
type Sidecar struct {
	Container
	workload *Workload
	OneShot  bool // an init container that ends
}

func (w *Workload) newSidecar(i int) Sidecar {
	s := Sidecar{Container: w.Containers()[i], workload: w}
	s.OneShot = s.Init && !s.Native() && s.Variable("SECRETSYNC_ONE_SHOT").IsTrue()
	return s
}

// A Variable is a variable of a sidecar.
type Variable struct {
	Value string
	Set   bool // the spec mentions the variable
	Known bool // the spec contains the value
	Path  Path // of the value: the container, if the spec does not mention the variable
}

// The prefix of the downward API for an annotation of the Pod.
const annotation = "metadata.annotations['"

// Variable returns a variable of the environment of the sidecar. The last entry of a name wins,
// as in a container.
func (s Sidecar) Variable(name string) Variable {
	for i, v := range slices.Backward(s.Env) {
		if v.Name == name {
			return s.value(v, s.Path.Add("env", i))
		}
	}
	return Variable{Known: len(s.EnvFrom) == 0, Path: s.Path.Add("env")}
}

func (s Sidecar) value(v corev1.EnvVar, at Path) Variable {
	if v.ValueFrom == nil {
		return Variable{strings.TrimSpace(v.Value), true, !strings.Contains(v.Value, "$("), at.Add("value")}
	}
	if v.ValueFrom.FieldRef == nil {
		return Variable{Set: true, Path: at}
	}
	key, isAnnotation := strings.CutPrefix(v.ValueFrom.FieldRef.FieldPath, annotation)
	if !isAnnotation {
		return Variable{Set: true, Path: at} // a field that the kubelet fills in
	}
	key = strings.TrimSuffix(key, "']")
	value, present := s.workload.Meta.Annotations[key]
	if present {
		at = s.workload.Path.Add("metadata", "annotations", key)
	}
	return Variable{strings.TrimSpace(value), true, true, at}
}

// IsTrue reports whether the variable is set to true.
func (v Variable) IsTrue() bool { return v.Value == "true" || v.Value == "1" || v.Value == "True" }

// List returns the entries of a comma-separated list.
func (v Variable) List() (entries []string) {
	for entry := range strings.SplitSeq(v.Value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Secrets returns the names of the Secrets of the sidecar. known is false if the spec does not
// contain all names.
func (s Sidecar) Secrets() (required, all []string, known bool) {
	named, optional := s.Variable("SECRETSYNC_SECRETS"), s.Variable("SECRETSYNC_OPTIONAL_SECRETS")
	return named.List(), slices.Concat(named.List(), optional.List()), named.Known && optional.Known
}

// Dir returns the directory of the files.
func (s Sidecar) Dir() string { return cmp.Or(s.Variable("SECRETSYNC_DIR").Value, "/secrets") }

// Volume returns the volume of the files and its mount in the sidecar, nil if there is none.
func (s Sidecar) Volume() (*corev1.Volume, Path, *corev1.VolumeMount, Path) {
	for i, m := range s.VolumeMounts {
		if strings.TrimRight(m.MountPath, "/") != strings.TrimRight(s.Dir(), "/") {
			continue
		}
		for j, v := range s.workload.Spec.Volumes {
			if v.Name == m.Name {
				return &v, s.workload.SpecPath("volumes", j), &m, s.Path.Add("volumeMounts", i)
			}
		}
	}
	return nil, nil, nil, nil
}

// Others returns the other containers of the Pod, without containers of secret-sync.
func (s Sidecar) Others() (apps []Container) {
	for _, c := range s.workload.Containers() {
		if !runsSecretSync(c.Container) {
			apps = append(apps, c)
		}
	}
	return apps
}

// Readers returns the other containers that mount the volume.
func (s Sidecar) Readers(volume string) (readers []Container) {
	for _, c := range s.Others() {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
			readers = append(readers, c)
		}
	}
	return readers
}

// VolumeName returns the name of the volume of the files, "" if there is none.
func (s Sidecar) VolumeName() string {
	if volume, _, _, _ := s.Volume(); volume != nil {
		return volume.Name
	}
	return ""
}

// Keys returns the keys that the sidecar requires, by Secret, with the variables that list them.
// An entry is secret/key, with =path for a file, and with +key for each further key of the file.
func (s Sidecar) Keys() map[string]map[string]Path {
	all := map[string]map[string]Path{}
	for _, name := range []string{"SECRETSYNC_REQUIRED_KEYS", "SECRETSYNC_ITEMS", "SECRETSYNC_ENV_FILES"} {
		v := s.Variable(name)
		for _, entry := range v.List() {
			entry, _, _ = strings.Cut(entry, "=")
			secret, keys, listed := strings.Cut(entry, "/")
			if listed && all[secret] == nil {
				all[secret] = map[string]Path{}
			}
			for key := range strings.SplitSeq(keys, "+") {
				if listed {
					all[secret][key] = v.Path
				}
			}
		}
	}
	return all
}
