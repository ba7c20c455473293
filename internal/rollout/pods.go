package rollout

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/kube"
)

const (
	sidecarName = "secret-sync"    // of the image and the container, and of the container port for /status
	defaultPort = 29808            // of SECRETSYNC_HTTP_ADDR
	clockSkew   = 10 * time.Second // maximum between two API servers; includes the age of a kubelet's cache
)

// A podObject is a Pod of the API, with only the fields that a wait uses. JSON matches the names without regard to
// case.
type podObject struct {
	kube.TypeMeta
	Metadata struct {
		Name, UID, DeletionTimestamp string
		CreationTimestamp            time.Time
	}
	Spec struct {
		NodeName                                        string
		InitContainers, Containers, EphemeralContainers []Container
		Volumes                                         []struct {
			Name      string
			Secret    struct{ SecretName string }
			Projected struct {
				Sources []struct{ Secret struct{ Name string } }
			}
			CSI struct{ NodePublishSecretRef struct{ Name string } }
		}
	}
	Status struct {
		Phase, PodIP                                                         string
		InitContainerStatuses, ContainerStatuses, EphemeralContainerStatuses []containerStatus
	}
}

// A Container is a container in the spec of a Pod.
type Container struct {
	Name, Image, RestartPolicy string
	Command, Args              []string
	Env                        []struct {
		Name, Value string
		ValueFrom   *struct{ SecretKeyRef struct{ Name string } }
	}
	EnvFrom []struct {
		Prefix    string
		SecretRef struct{ Name string }
	}
	Ports []struct {
		Name          string
		ContainerPort int
	}
	init bool // it ends before the containers of the app start
}

// A containerStatus with a name only shows a container that never started.
type containerStatus struct {
	Name, ContainerID string
	RestartCount      int
	State, LastState  struct{ Running, Terminated *struct{} }
}

// A pod is the part of a Pod on which a wait decides, and the knowledge about its sidecars.
type pod struct {
	PodState // without the fields that depend on the time
	address  string
	// An unbound Pod, without a node, cannot have read anything. A Pod that succeeded or failed also counts as unbound.
	deleting, bound bool
	// unstarted reports whether the kubelet has reported every container of the Pod, and none ever started.
	// appUnstarted reports the same of the containers without secret-sync.
	unstarted, appUnstarted bool
	uses                    []use     // of the Secret, by other means than a sidecar
	probes                  []*probe  // the sidecars that may watch the Secret
	seen                    time.Time // when the Pod was first seen
}

func (o *podObject) containers() []Container {
	all := slices.Concat(o.Spec.InitContainers, o.Spec.Containers, o.Spec.EphemeralContainers)
	for i := range o.Spec.InitContainers {
		all[i].init = all[i].RestartPolicy != "Always"
	}
	return all
}

func (o *podObject) reduce(namespace, secret string) *pod {
	m, phase := &o.Metadata, o.Status.Phase
	p := &pod{
		PodState:  PodState{Namespace: namespace, Name: m.Name, UID: m.UID, Created: m.CreationTimestamp},
		address:   o.Status.PodIP,
		deleting:  m.DeletionTimestamp != "",
		bound:     o.Spec.NodeName != "" && phase != "Succeeded" && phase != "Failed",
		unstarted: true, appUnstarted: true,
	}
	waiting := map[string]bool{}
	reported := &o.Status
	for _, s := range slices.Concat(reported.InitContainerStatuses, reported.ContainerStatuses,
		reported.EphemeralContainerStatuses) {
		waiting[s.Name] = s == containerStatus{Name: s.Name}
	}
	for _, c := range o.containers() {
		if !c.init && c.mayWatch(secret) {
			port := cmp.Or(c.namedPort(), defaultPort)
			p.probes = append(p.probes, &probe{container: c.Name, port: port,
				reason: "its sidecar has not answered yet"})
		}
		if !waiting[c.Name] {
			p.unstarted = false
			p.appUnstarted = p.appUnstarted && c.RunsSecretSync()
		}
	}
	p.uses = o.uses(secret, len(p.probes) > 0)
	return p
}

// RunsSecretSync reports whether the container runs secret-sync and none of its commands. A port or a container of
// its name is proof enough. The image also contains `wait`.
func (c Container) RunsSecretSync() bool {
	image, _, _ := strings.Cut(c.Image, "@")
	image, _, _ = strings.Cut(path.Base(image), ":")
	return c.namedPort() != 0 || c.Name == sidecarName ||
		image == sidecarName && len(c.Command) <= 1 && len(c.Args) == 0
}

func (c Container) namedPort() int {
	for _, p := range c.Ports {
		if p.Name == sidecarName {
			return p.ContainerPort
		}
	}
	return 0
}

// mayWatch reports whether the container runs secret-sync and may watch the Secret. Only a spec with the whole
// configuration proves the opposite. An annotation proves nothing: it may have changed after the start of the process.
func (c Container) mayWatch(secret string) bool {
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
	return c.RunsSecretSync() && !(certain && named)
}

// A use is a way in which a Pod uses the Secret without a sidecar.
type use struct {
	text    string // "container job reads it into DB_PASSWORD at start"
	atStart bool   // the Pod reads the Secret when it starts, and never again
}

// problem returns the reason why the Pod may use old data, "" if it does not. changed is an upper bound for the time
// of the last change, zero if none is known.
func (u use) problem(created, changed time.Time) string {
	if u.atStart && !changed.IsZero() && created.After(changed.Add(clockSkew)) {
		return ""
	}
	return u.text
}

// uses returns the ways in which the Pod's spec uses the Secret, apart from sidecars. hasSidecar reports whether a
// sidecar may update the files of an init container with secret-sync.
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
			add(false, "unknown: volume %s contains it, and the app may not have read the new files", v.Name)
		}
		if v.CSI.NodePublishSecretRef.Name == secret {
			add(true, "the CSI driver of volume %s reads it when it mounts the volume", v.Name)
		}
	}
	for _, c := range o.containers() {
		kind := map[bool]string{true: "init container", false: "container"}[c.init]
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
		if len(names) > 0 {
			add(true, "%s %s reads it into %s at start", kind, c.Name, strings.Join(names, ", "))
		}
		if c.init && c.mayWatch(secret) && !hasSidecar {
			add(true, "init container %s writes it to files at start", c.Name)
		}
	}
	return all
}
