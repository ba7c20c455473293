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
	RestartPolicy string
	Env           []envVar
	EnvFrom       []struct {
		Prefix    string
		SecretRef reference
	}
	Ports []struct {
		Name          string
		ContainerPort int
	}

	init bool // it ends before the containers of the app start
}

type volume struct {
	Name      string
	Secret    struct{ SecretName string }
	Projected struct{ Sources []struct{ Secret reference } }
	CSI       struct{ NodePublishSecretRef reference }
}

type envVar struct {
	Name, Value string
	ValueFrom   *struct{ SecretKeyRef reference }
}

// A reference is a reference to an object, with an empty name if it is absent.
type reference struct{ Name string }

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

// A pod is the part of a Pod on which a wait decides, and the knowledge about its sidecars. A
// wait keeps thousands of them.
type pod struct {
	namespace, name, uid string
	address              string
	created              time.Time
	deleting             bool
	// bound reports whether the Pod is bound to a node and neither succeeded nor failed. An
	// unbound Pod cannot have read anything, and a finished Pod uses nothing.
	bound bool
	// unstarted reports whether the kubelet has reported every container of the Pod, and none
	// ever started. appUnstarted reports the same of the containers without secret-sync.
	unstarted, appUnstarted bool
	uses                    []use    // of the Secret, by other means than a sidecar
	probes                  []*probe // the sidecars that may watch the Secret

	seen   time.Time         // when the Pod was first seen
	owners map[string]string // by the name of an instance or a volume: its container
}

// containers returns all containers of the Pod.
func (o *podObject) containers() []container {
	all := slices.Concat(o.Spec.InitContainers, o.Spec.Containers)
	for i := range o.Spec.InitContainers {
		all[i].init = all[i].RestartPolicy != "Always"
	}
	return all
}

// reduce returns the part of the Pod on which a wait for the Secret decides.
func (o *podObject) reduce(namespace, secret string) *pod {
	phase := o.Status.Phase
	p := &pod{
		namespace: namespace, name: o.Metadata.Name, uid: o.Metadata.UID, address: o.Status.PodIP,
		created: o.Metadata.CreationTimestamp, deleting: o.Metadata.DeletionTimestamp != "",
		bound:     o.Spec.NodeName != "" && phase != "Succeeded" && phase != "Failed",
		unstarted: true, appUnstarted: true, owners: map[string]string{},
	}
	statuses := map[string]containerStatus{}
	for _, s := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		statuses[s.Name] = s
	}
	for _, c := range o.containers() {
		if !c.init && c.mayWatch(secret) {
			s := probe{container: c.Name, port: cmp.Or(c.namedPort(), defaultPort), reason: "its sidecar has not answered yet"}
			p.probes = append(p.probes, &s)
		}
		if s, reported := statuses[c.Name]; !reported || s.started() {
			p.unstarted = false
			p.appUnstarted = p.appUnstarted && c.runsSecretSync()
		}
	}
	p.uses = o.uses(secret, len(p.probes) > 0)
	return p
}

// runsSecretSync reports whether the container runs secret-sync and none of its commands.
// A port or a container of its name is proof enough. The image also contains `wait`.
func (c container) runsSecretSync() bool {
	image, _, _ := strings.Cut(c.Image, "@")
	image, _, _ = strings.Cut(path.Base(image), ":")
	return c.namedPort() != 0 || c.Name == sidecarName ||
		image == sidecarName && len(c.Command) <= 1 && len(c.Args) == 0
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

// mayWatch reports whether the container runs secret-sync and may watch the Secret. Only a
// spec with the whole configuration proves the opposite. An annotation proves nothing: it may
// have changed after the start of the process.
func (c container) mayWatch(secret string) bool {
	certain, named := len(c.EnvFrom) == 0, false
	for _, v := range c.Env {
		switch v.Name {
		case "SECRETSYNC_SECRETS", "SECRETSYNC_OPTIONAL_SECRETS":
			named = named || v.Value != ""
			for name := range strings.SplitSeq(v.Value, ",") {
				certain = certain && strings.TrimSpace(name) != secret
			}
			certain = certain && v.ValueFrom == nil && !strings.Contains(v.Value, "$(")
		case "SECRETSYNC_SELECTOR":
			certain = certain && v.ValueFrom == nil && v.Value == ""
		}
	}
	return c.runsSecretSync() && !(certain && named)
}
