package rollout

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	// sidecarName is the name of the image and the container of secret-sync, and of the
	// container port for /status.
	sidecarName = "secret-sync"
	defaultPort = 29808 // of SECRETSYNC_HTTP_ADDR
)

// A podObject is a Pod of the API, with only the fields that a wait uses. JSON matches the
// names without regard to case.
type podObject struct {
	kube.TypeMeta
	Metadata struct {
		Name, UID, DeletionTimestamp string
		CreationTimestamp            time.Time
		Annotations                  map[string]string
	}
	Spec struct {
		NodeName                   string
		InitContainers, Containers []container
		Volumes                    []volume
	}
	Status struct {
		Phase, PodIP                             string
		InitContainerStatuses, ContainerStatuses []containerStatus
	}
}

type container struct {
	Name, Image   string
	Command, Args []string
	RestartPolicy string // Always makes an init container a sidecar
	Env           []envVar
	EnvFrom       []struct {
		Prefix    string
		SecretRef reference
	}
	Ports []struct {
		Name          string
		ContainerPort int
	}
}

type containerStatus struct {
	Name, ContainerID string
	RestartCount      int
	State, LastState  struct{ Running, Terminated *struct{} }
}

// started reports whether the container ran at some time.
func (s containerStatus) started() bool {
	return s.RestartCount > 0 || s.ContainerID != "" ||
		s.State.Running != nil || s.State.Terminated != nil || s.LastState.Terminated != nil
}

// A pod is the part of a Pod on which a wait decides. A wait keeps thousands of them.
type pod struct {
	namespace, name, uid string
	address              string
	created              time.Time
	deleting             bool
	// bound reports whether the Pod is bound to a node and neither succeeded nor failed. An
	// unbound Pod cannot have read anything, and a finished Pod uses nothing.
	bound bool
	// unstarted reports whether the kubelet has reported every container of the Pod, and none
	// ever started.
	unstarted bool
	// appUnstarted reports the same of the containers without secret-sync.
	appUnstarted bool
	sidecars     []sidecar
	uses         []use // of the Secret, by other means than a sidecar
}

// A sidecar is a container with secret-sync. It runs as long as the Pod.
type sidecar struct {
	container string
	port      int
	watches   watches // according to the Pod's spec
}

// reduce returns the part of the Pod on which a wait for the Secret decides.
func (o *podObject) reduce(namespace, secret string) pod {
	phase := o.Status.Phase
	p := pod{
		namespace: namespace, name: o.Metadata.Name, uid: o.Metadata.UID, address: o.Status.PodIP,
		created: o.Metadata.CreationTimestamp, deleting: o.Metadata.DeletionTimestamp != "",
		bound: o.Spec.NodeName != "" && phase != "Succeeded" && phase != "Failed",
		uses:  o.uses(secret), unstarted: true, appUnstarted: true,
	}
	statuses := map[string]containerStatus{}
	for _, s := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		statuses[s.Name] = s
	}
	for i, c := range slices.Concat(o.Spec.InitContainers, o.Spec.Containers) {
		oneShot := i < len(o.Spec.InitContainers) && c.RestartPolicy != "Always"
		if c.runsSecretSync() && !oneShot {
			p.sidecars = append(p.sidecars, sidecar{c.Name, cmp.Or(c.namedPort(), defaultPort), c.watches(secret, o.Metadata.Annotations)})
		}
		if s, reported := statuses[c.Name]; !reported || s.started() {
			p.unstarted = false
			p.appUnstarted = p.appUnstarted && c.runsSecretSync()
		}
	}
	mayWatch := func(s sidecar) bool { return s.watches != watchesNot }
	if slices.ContainsFunc(p.sidecars, mayWatch) { // it updates the files of an init container
		p.uses = slices.DeleteFunc(p.uses, func(u use) bool { return u.oneShot })
	}
	return p
}

// runsSecretSync reports whether the container runs secret-sync and none of its commands.
// A port or a container of its name is proof enough. The image also contains `wait`.
func (c container) runsSecretSync() bool {
	return c.namedPort() != 0 || c.Name == sidecarName ||
		imageName(c.Image) == sidecarName && len(c.Command) <= 1 && len(c.Args) == 0
}

// imageName returns the last element of the image's repository.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}

// namedPort returns the port named secret-sync, 0 for none.
func (c container) namedPort() int {
	for _, p := range c.Ports {
		if p.Name == sidecarName {
			return p.ContainerPort
		}
	}
	return 0
}
