package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

const (
	requestTimeout = 30 * time.Second // of a list
	askTimeout     = 5 * time.Second  // of one Pod's answer
	maxDocument    = 8 << 20          // bytes of an answer
)

// cluster is what is read of one namespace: metadata of a Secret, Pods, and the
// answers of their sidecars.
type cluster struct {
	api       *kubeapi.Client
	namespace string
	direct    *http.Client // nil: through the API server
}

func newCluster(api *kubeapi.Client, namespace string, direct bool) *cluster {
	c := &cluster{api: api, namespace: namespace}
	if direct {
		c.direct = &http.Client{
			// No proxy of the environment: Pods are not behind one.
			Transport: &http.Transport{
				DialContext:     (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
				IdleConnTimeout: 10 * time.Second, // to ask again
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c
}

func (c *cluster) path(elements ...string) string {
	return path.Join(append([]string{"/api/v1/namespaces", c.namespace}, elements...)...)
}

// version reads the present version of a Secret, and nothing else of it.
func (c *cluster) version(ctx context.Context, secret string) (Version, error) {
	var object struct {
		Metadata struct {
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err := c.get(ctx, kubeapi.MetadataOnly, c.path("secrets", secret), nil, &object)
	if err == nil && (object.Metadata.UID == "" || object.Metadata.ResourceVersion == "") {
		err = errors.New("the answer is not what a Kubernetes API server gives")
	}
	if err != nil {
		return Version{}, fmt.Errorf("read Secret %q of namespace %q: %w", secret, c.namespace, err)
	}
	return Version{Secret: secret, UID: object.Metadata.UID, ResourceVersion: object.Metadata.ResourceVersion}, nil
}

// pods makes a consistent read of the Pods that match a selector.
func (c *cluster) pods(ctx context.Context, selector string) (pods []pod, resourceVersion string, err error) {
	var list struct {
		Kind     string `json:"kind"`
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []pod `json:"items"`
	}
	err = c.get(ctx, kubeapi.JSON, c.path("pods"), url.Values{"labelSelector": {selector}}, &list)
	if err == nil && (list.Kind != "PodList" || list.Metadata.ResourceVersion == "") {
		err = errors.New("the answer is not what a Kubernetes API server gives")
	}
	if err != nil {
		return nil, "", fmt.Errorf("list the Pods %q of namespace %q: %w", selector, c.namespace, err)
	}
	return list.Items, list.Metadata.ResourceVersion, nil
}

func (c *cluster) get(ctx context.Context, accept, path string, params url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := c.api.Get(ctx, accept, path, params)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return errors.New("the answer is not JSON, or broke off")
	}
	return nil
}

// podEvent is one event of a watch of Pods.
type podEvent struct {
	Type   string `json:"type"`
	Object pod    `json:"object"`
}

// watch calls event for each event since a resourceVersion, until the watch ends.
func (c *cluster) watch(ctx context.Context, selector, resourceVersion string, event func(podEvent)) error {
	body, err := c.api.Get(ctx, kubeapi.JSON, c.path("pods"), url.Values{
		"watch": {"true"}, "labelSelector": {selector}, "resourceVersion": {resourceVersion},
	})
	if err != nil {
		return fmt.Errorf("watch the Pods %q of namespace %q: %w", selector, c.namespace, err)
	}
	defer func() { _ = body.Close() }()
	decoder := json.NewDecoder(body)
	for {
		var e podEvent
		if err := decoder.Decode(&e); err != nil || e.Type == "ERROR" {
			return nil // the next list knows more
		}
		event(e)
	}
}

// ask asks a Pod's sidecar for its status.
func (c *cluster) ask(ctx context.Context, p pod) (*status.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.open(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("its sidecar does not answer: %w", err)
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("its sidecar's answer broke off: %w", err)
	}
	return status.Parse(data)
}

func (c *cluster) open(ctx context.Context, p pod) (io.ReadCloser, error) {
	port := strconv.Itoa(p.statusPort())
	if c.direct == nil {
		return c.api.Get(ctx, kubeapi.JSON, c.path("pods", p.Metadata.Name+":"+port, "proxy", "status"), nil)
	}
	if p.Status.PodIP == "" {
		return nil, errors.New("the Pod has no address")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(p.Status.PodIP, port)+"/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.direct.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("it answers %s on port %s", answer.Status, port)
	}
	return answer.Body, nil
}
