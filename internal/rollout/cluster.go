package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/watcher/kubeapi"
)

const (
	versionTimeout = 30 * time.Second // of a read of the Secret's metadata
	askTimeout     = 5 * time.Second  // of one Pod's answer
	maxDocument    = 8 << 20          // bytes of an answer

	// Requests a second through the API server, after the first proxyBurst. What goes
	// to the Pods themselves costs nobody else, and is not limited.
	proxyRate, proxyBurst = 500, 200
)

// cluster is what is read of one namespace: metadata of a Secret, Pods, and the
// answers of their sidecars.
type cluster struct {
	Options
	query  kubeapi.Query // of the Pods
	limit  *rate.Limiter
	direct *http.Client
}

func newCluster(o Options) *cluster {
	return &cluster{
		Options: o,
		query:   kubeapi.Query{Kind: "Pod", Namespace: o.Namespace, Selector: o.Selector},
		limit:   rate.NewLimiter(proxyRate, proxyBurst),
		direct: &http.Client{
			// No proxy of the environment: Pods are not behind one.
			Transport: &http.Transport{
				DialContext:     (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
				IdleConnTimeout: 10 * time.Second, // to ask again
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// version reads the present version of the Secret, and nothing else of it.
func (c *cluster) version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	body, err := c.API.Get(ctx, kubeapi.MetadataOnly, kubeapi.Path(c.Namespace, "secrets", c.Secret))
	var object struct {
		Metadata struct {
			UID             string `json:"uid"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	v := &object.Metadata
	if err == nil && (json.Unmarshal(body, &object) != nil || v.UID == "" || v.ResourceVersion == "") {
		err = errors.New("the answer is not what a Kubernetes API server gives")
	}
	if err != nil {
		return Version{}, fmt.Errorf("read Secret %q of namespace %q: %w", c.Secret, c.Namespace, err)
	}
	return Version{Secret: c.Secret, UID: v.UID, ResourceVersion: v.ResourceVersion}, nil
}

// pods makes a consistent read of the Pods that match the selector.
func (c *cluster) pods(ctx context.Context) (pods []pod, resourceVersion string, err error) {
	pods, resourceVersion, err = kubeapi.List[pod](ctx, c.API, c.query)
	if err != nil {
		err = fmt.Errorf("list the Pods %q of namespace %q: %w", c.Selector, c.Namespace, err)
	}
	return pods, resourceVersion, err
}

// ask asks a Pod's sidecar for its status.
func (c *cluster) ask(ctx context.Context, p pod) (*status.Document, error) {
	get := c.throughAPI
	if c.Direct {
		get = c.atItsAddress
	} else if err := c.limit.Wait(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	document, err := get(ctx, p, strconv.Itoa(p.statusPort()))
	if err != nil {
		return nil, fmt.Errorf("its sidecar does not answer: %w", err)
	}
	return status.Parse(document)
}

func (c *cluster) throughAPI(ctx context.Context, p pod, port string) ([]byte, error) {
	return c.API.Get(ctx, kubeapi.JSON, kubeapi.Path(c.Namespace, "pods", p.Metadata.Name+":"+port, "proxy/status"))
}

func (c *cluster) atItsAddress(ctx context.Context, p pod, port string) ([]byte, error) {
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
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s on port %s", answer.Status, port)
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxDocument))
}
