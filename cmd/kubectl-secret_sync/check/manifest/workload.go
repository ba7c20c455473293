package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/rollout"
)

// A Workload is an object with the template of a Pod, or a Pod.
type Workload struct {
	*Object
	Namespace string
	Path      Path // of the template
	Meta      metav1.ObjectMeta
	Spec      corev1.PodSpec
	Sidecars  []Sidecar
}

// templates contains the place of the template in kinds whose template is not in spec.template. Kinds that check does
// not know, such as Argo's Rollout, follow the Deployment.
var templates = map[string]Path{
	"Pod":         {},
	"PodTemplate": {"template"},
	"CronJob":     {"spec", "jobTemplate", "spec", "template"},
}

// NewWorkload returns the workload of an object, nil if the object contains no template of a Pod.
func NewWorkload(o *Object, namespace string) (*Workload, error) {
	at, known := templates[o.GetKind()]
	if !known {
		at = Path{"spec", "template"}
	}
	content := o.UnstructuredContent()
	for _, field := range at {
		content, _ = content[field.(string)].(map[string]any)
	}
	if spec, _ := content["spec"].(map[string]any); spec["containers"] == nil && spec["initContainers"] == nil {
		return nil, nil
	}
	var template corev1.PodTemplateSpec
	text, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(text, &template)
	}
	if err != nil {
		if strings.Contains(o.GroupVersionKind().Group, ".") {
			return nil, nil // a custom resource can have containers of another form
		}
		return nil, fmt.Errorf("%s of %s: read the Pod's spec: %w", o, cmp.Or(o.File, "the cluster"), err)
	}
	w := &Workload{
		Object: o, Namespace: cmp.Or(o.GetNamespace(), namespace),
		Path: at, Meta: template.ObjectMeta, Spec: template.Spec,
	}
	for i, c := range w.Containers() {
		if runsSecretSync(c.Container) {
			w.Sidecars = append(w.Sidecars, w.newSidecar(i))
		}
	}
	return w, nil
}

// SpecPath returns the path of a field in the Pod's spec.
func (w *Workload) SpecPath(elements ...any) Path { return w.Path.Add("spec").Add(elements...) }

// A Container is a container of a Pod, with its place.
type Container struct {
	corev1.Container
	Path Path
	Init bool
}

// Native reports whether the container is a native sidecar.
func (c Container) Native() bool {
	return c.Init && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Containers returns the init containers and then the containers of the Pod.
func (w *Workload) Containers() (all []Container) {
	for i, c := range w.Spec.InitContainers {
		all = append(all, Container{c, w.SpecPath("initContainers", i), true})
	}
	for i, c := range w.Spec.Containers {
		all = append(all, Container{c, w.SpecPath("containers", i), false})
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
	var known rollout.Container
	if err = errors.Join(err, json.Unmarshal(spec, &known)); err != nil {
		panic("the spec of a container is not JSON: " + err.Error())
	}
	variables := []string{"SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS", "SECRETSYNC_SELECTOR"}
	selects := func(v corev1.EnvVar) bool { return slices.Contains(variables, v.Name) }
	return known.RunsSecretSync() || slices.ContainsFunc(c.Env, selects)
}

// runsCommand reports whether the container runs a command of the program, for example wait.
func runsCommand(c corev1.Container) bool {
	arguments := slices.Concat(c.Command, c.Args)
	if len(c.Command) > 0 {
		arguments = arguments[1:]
	}
	return len(arguments) > 0 && slices.Contains([]string{"wait", "status", "rbac", "ready"}, arguments[0])
}

// User returns the UID of a container, nil if the image sets it.
func (w *Workload) User(c Container) *int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.SecurityContext.RunAsUser
	}
	if w.Spec.SecurityContext != nil {
		return w.Spec.SecurityContext.RunAsUser
	}
	return nil
}

// UserPath returns the place of the UID of a container.
func (w *Workload) UserPath(c Container) Path {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.Path.Add("securityContext", "runAsUser")
	}
	return w.SpecPath("securityContext", "runAsUser")
}

// Account returns the service account of the Pod.
func (w *Workload) Account() string { return cmp.Or(w.Spec.ServiceAccountName, "default") }

// AccountPath returns the place of the name of the service account.
func (w *Workload) AccountPath() Path { return w.SpecPath("serviceAccountName") }
