package rollout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

const (
	// sidecarName is the name of the program's image and container, and of the
	// container's port that answers /status.
	sidecarName = "secret-sync"
	defaultPort = 29808 // that of SECRETSYNC_HTTP_ADDR

	askTimeout = 5 * time.Second // of one Pod's answer
)

// pod is what decides whether a Pod counts, and where to ask it.
type pod struct {
	kube.TypeMeta
	Metadata struct {
		Name              string `json:"name"`
		UID               string `json:"uid"`
		DeletionTimestamp string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		InitContainers []container `json:"initContainers"`
		Containers     []container `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase                 string            `json:"phase"`
		PodIP                 string            `json:"podIP"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
		ContainerStatuses     []containerStatus `json:"containerStatuses"`
	} `json:"status"`
}

type container struct {
	Name          string `json:"name"`
	Image         string `json:"image"`
	RestartPolicy string `json:"restartPolicy"` // of an init container: Always makes it a sidecar
	Ports         []struct {
		Name          string `json:"name"`
		ContainerPort int    `json:"containerPort"`
	} `json:"ports"`
}

type containerStatus struct {
	Name         string         `json:"name"`
	RestartCount int            `json:"restartCount"`
	State        map[string]any `json:"state"`     // by one key: waiting, running or terminated
	LastState    map[string]any `json:"lastState"` // the same, empty for none
}

// role is how a Pod counts.
type role int

const (
	absent    role = iota // it uses no Secret, or reads it only when it starts
	sidecar               // it is asked
	noSidecar             // it may use the Secret, and there is no one to ask
)

// role reports how the Pod counts. One with the sidecar counts from the first start
// of that container, in whatever state the container is now, until the Pod is gone:
// its app may use the old version for as long as it runs. Before that start nothing
// was read, and what is read then is the newest version.
func (p *pod) role() role {
	if p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
		return absent
	}
	c := p.sidecar()
	switch {
	case c == nil && p.Status.Phase == "Pending":
		return absent
	case c == nil:
		return noSidecar
	case p.started(c.Name):
		return sidecar
	}
	return absent
}

// sidecar returns the Pod's container of this program, nil if it has none: the
// one with a port called secret-sync, or of that name, or of that image. An init
// container that ends (ONE_SHOT) is not meant.
func (p *pod) sidecar() *container {
	all := p.Spec.Containers
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == "Always" {
			all = append(all[:len(all):len(all)], c)
		}
	}
	for _, is := range []func(container) bool{
		func(c container) bool { return c.port() != 0 },
		func(c container) bool { return c.Name == sidecarName },
		func(c container) bool { return imageName(c.Image) == sidecarName },
	} {
		if i := slices.IndexFunc(all, is); i >= 0 {
			return &all[i]
		}
	}
	return nil
}

// imageName is the last element of an image's repository.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}

// port is the container's port of the program's name, 0 for none.
func (c container) port() int {
	for _, p := range c.Ports {
		if p.Name == sidecarName {
			return p.ContainerPort
		}
	}
	return 0
}

// started reports whether the container ran at some time.
func (p *pod) started(name string) bool {
	all := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	return slices.ContainsFunc(all, func(s containerStatus) bool {
		return s.Name == name &&
			(s.RestartCount > 0 || s.State["running"] != nil || s.State["terminated"] != nil || s.LastState["terminated"] != nil)
	})
}

// statusPort is the port on which the Pod's sidecar answers.
func (p *pod) statusPort() int {
	if c := p.sidecar(); c != nil && c.port() != 0 {
		return c.port()
	}
	return defaultPort
}

// ask asks a Pod's sidecar for its status.
func (o *Options) ask(ctx context.Context, p pod) (d *status.Document, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var answer []byte
	switch port := strconv.Itoa(p.statusPort()); {
	case !o.Direct:
		answer, err = o.API.Get(ctx, kube.JSON, kube.Pods.Path(o.Namespace, p.Metadata.Name+":"+port, "proxy/status"))
	case p.Status.PodIP == "":
		err = errors.New("the Pod has no address")
	default:
		answer, err = status.Fetch(ctx, net.JoinHostPort(p.Status.PodIP, port))
	}
	if err == nil {
		d, err = status.Parse(answer)
	}
	if err != nil {
		return nil, fmt.Errorf("its sidecar does not answer with its status: %w", err)
	}
	return d, nil
}
