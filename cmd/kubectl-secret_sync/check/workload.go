package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/rollout"
)

// A workload is an object with the template of a Pod, or a Pod.
type workload struct {
	*Object
	namespace string
	path      path // of the template
	meta      metav1.ObjectMeta
	spec      corev1.PodSpec
	sidecars  []sidecar
}

// templates contains the place of the template in each kind of workload.
var templates = map[string]path{
	"Pod":                   {},
	"PodTemplate":           {"template"},
	"Deployment":            {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"Job":                   {"spec", "template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
}

// newWorkload returns the workload of an object, nil if the object is of another kind.
func newWorkload(o *Object, namespace string) (*workload, error) {
	at, known := templates[o.GetKind()]
	if !known {
		return nil, nil
	}
	content := o.UnstructuredContent()
	for _, field := range at {
		content, _ = content[field.(string)].(map[string]any)
	}
	var template corev1.PodTemplateSpec
	text, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(text, &template)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read the Pod's spec: %w", o, err)
	}
	w := &workload{
		Object: o, namespace: cmp.Or(o.GetNamespace(), namespace),
		path: at, meta: template.ObjectMeta, spec: template.Spec,
	}
	for i, c := range w.containers() {
		if runsSecretSync(c.Container) {
			w.sidecars = append(w.sidecars, w.newSidecar(i))
		}
	}
	return w, nil
}

// specPath returns the path of a field in the Pod's spec.
func (w *workload) specPath(elements ...any) path { return w.path.add("spec").add(elements...) }

// A container is a container of a Pod, with its place.
type container struct {
	corev1.Container
	path path
	init bool
}

// native reports whether the container is a native sidecar.
func (c container) native() bool {
	return c.init && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// containers returns the init containers and then the containers of the Pod.
func (w *workload) containers() (all []container) {
	for i, c := range w.spec.InitContainers {
		all = append(all, container{c, w.specPath("initContainers", i), true})
	}
	for i, c := range w.spec.Containers {
		all = append(all, container{c, w.specPath("containers", i), false})
	}
	return all
}

// runsSecretSync reports whether the container runs the sidecar: wait recognizes it, or the
// container has a variable that selects Secrets.
func runsSecretSync(c corev1.Container) bool {
	if runsCommand(c) {
		return false
	}
	spec, err := json.Marshal(c)
	if err != nil {
		panic("the spec of a container is not JSON: " + err.Error())
	}
	variables := []string{"SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS", "SECRETSYNC_SELECTOR"}
	selects := func(v corev1.EnvVar) bool { return slices.Contains(variables, v.Name) }
	recognized := rollout.RunsSecretSync(spec)
	return recognized || slices.ContainsFunc(c.Env, selects)
}

// runsCommand reports whether the container runs a command of the program, for example wait.
func runsCommand(c corev1.Container) bool {
	arguments := slices.Concat(c.Command, c.Args)
	if len(c.Command) > 0 {
		arguments = arguments[1:]
	}
	return len(arguments) > 0 && slices.Contains([]string{"wait", "status", "rbac", "ready"}, arguments[0])
}

// A sidecar is a container that runs secret-sync.
type sidecar struct {
	container
	workload *workload
	oneShot  bool
}

func (w *workload) newSidecar(i int) sidecar {
	s := sidecar{container: w.containers()[i], workload: w}
	s.oneShot = s.init && !s.native() && s.variable("SECRETSYNC_ONE_SHOT").isTrue()
	return s
}

// A variable is a variable of a sidecar.
type variable struct {
	value string
	set   bool // the spec mentions the variable
	known bool // the spec contains the value
	path  path // of the value: the container, if the spec does not mention the variable
}

// The prefix of the downward API for an annotation of the Pod.
const annotation = "metadata.annotations['"

// variable returns a variable of the environment of the sidecar. The last entry of a name wins,
// as in a container.
func (s sidecar) variable(name string) variable {
	for i, v := range slices.Backward(s.Env) {
		if v.Name == name {
			return s.value(v, s.path.add("env", i))
		}
	}
	return variable{known: len(s.EnvFrom) == 0, path: s.path.add("env")}
}

func (s sidecar) value(v corev1.EnvVar, at path) variable {
	if v.ValueFrom == nil {
		return variable{strings.TrimSpace(v.Value), true, !strings.Contains(v.Value, "$("), at.add("value")}
	}
	if v.ValueFrom.FieldRef == nil {
		return variable{set: true, path: at}
	}
	key, isAnnotation := strings.CutPrefix(v.ValueFrom.FieldRef.FieldPath, annotation)
	if !isAnnotation {
		return variable{set: true, path: at} // a field that the kubelet fills in
	}
	key = strings.TrimSuffix(key, "']")
	value, present := s.workload.meta.Annotations[key]
	if present {
		at = s.workload.path.add("metadata", "annotations", key)
	}
	return variable{strings.TrimSpace(value), true, true, at}
}

func (v variable) isTrue() bool { return v.value == "true" || v.value == "1" || v.value == "True" }

// list returns the entries of a comma-separated list.
func (v variable) list() (entries []string) {
	for entry := range strings.SplitSeq(v.value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// secrets returns the names of the Secrets of the sidecar. known is false if the spec does not
// contain all names.
func (s sidecar) secrets() (required, all []string, known bool) {
	named, optional := s.variable("SECRETSYNC_SECRETS"), s.variable("SECRETSYNC_OPTIONAL_SECRETS")
	return named.list(), slices.Concat(named.list(), optional.list()), named.known && optional.known
}

// dir returns the directory of the files.
func (s sidecar) dir() string { return cmp.Or(s.variable("SECRETSYNC_DIR").value, "/secrets") }

// volume returns the volume of the files and its mount in the sidecar, nil if there is none.
func (s sidecar) volume() (*corev1.Volume, path, *corev1.VolumeMount, path) {
	for i, m := range s.VolumeMounts {
		if strings.TrimRight(m.MountPath, "/") != strings.TrimRight(s.dir(), "/") {
			continue
		}
		for j, v := range s.workload.spec.Volumes {
			if v.Name == m.Name {
				return &v, s.workload.specPath("volumes", j), &m, s.path.add("volumeMounts", i)
			}
		}
	}
	return nil, nil, nil, nil
}

// others returns the other containers of the Pod, without containers of secret-sync.
func (s sidecar) others() (apps []container) {
	for _, c := range s.workload.containers() {
		if !runsSecretSync(c.Container) {
			apps = append(apps, c)
		}
	}
	return apps
}

// readers returns the other containers that mount the volume.
func (s sidecar) readers(volume string) (readers []container) {
	for _, c := range s.others() {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
			readers = append(readers, c)
		}
	}
	return readers
}
