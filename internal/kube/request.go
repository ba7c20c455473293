package kube

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// JSON is the media type of requests and answers.
const JSON = "application/json"

// A Resource is a namespaced resource of the core API group, and the kind of its objects.
type Resource struct {
	schema.GroupVersionResource
	Kind string
}

// The resources read by secret-sync.
var (
	Secrets = Resource{coreV1.WithResource("secrets"), "Secret"}
	Pods    = Resource{coreV1.WithResource("pods"), "Pod"}
)

var coreV1 = schema.GroupVersion{Version: "v1"}

// Path returns the path of the resource in a namespace. Elements below it, such as a
// name and a subresource, follow.
func (r Resource) Path(namespace string, elements ...string) string {
	return path(r.GroupVersionResource, namespace, elements...)
}

func path(r schema.GroupVersionResource, namespace string, elements ...string) string {
	elements = append([]string{"/api", r.Version, "namespaces", namespace, r.Resource}, elements...)
	return strings.Join(elements, "/")
}

// largestDocument is the largest number of bytes read by Get. The document may come from a
// Pod.
const largestDocument = 8 << 20

// Get returns the document at a path of the API server.
func (c *Client) Get(ctx context.Context, accept, path string) ([]byte, error) {
	r := request{verb: "get", resource: path, path: path, accept: accept}
	answer, err := c.sendAndRenew(ctx, r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, largestDocument), answer.Body}
	return r.read(answer)
}

// Create creates an object of the core API group. resource is the plural name, as in a
// Role; object is JSON.
func (c *Client) Create(ctx context.Context, namespace, resource string, object []byte) error {
	path := path(coreV1.WithResource(resource), namespace)
	r := request{verb: "create", resource: resource, path: path, accept: JSON, body: object}
	answer, err := c.sendAndRenew(ctx, r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// sendAndRenew calls send. If the server rejected the credentials, it renews them for
// the next request.
func (c *Client) sendAndRenew(ctx context.Context, r request) (*http.Response, error) {
	answer, err := c.send(ctx, r)
	if e := (*Error)(nil); errors.As(err, &e) && e.Outdated() {
		c.Renew()
	}
	return answer, err
}

// A request is a request to the API server.
type request struct {
	verb, resource string // for errors, as in a Role
	path           string
	params         url.Values
	accept         string
	body           []byte // JSON, of a create
}

// sendForJSON calls send and rejects an answer of another media type. Like client-go, it
// accepts an answer without a media type.
func (c *Client) sendForJSON(ctx context.Context, r request) (*http.Response, error) {
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	contentType := answer.Header.Get("Content-Type")
	if mediaType, _, _ := mime.ParseMediaType(contentType); contentType != "" && mediaType != JSON {
		_ = answer.Body.Close()
		return nil, r.invalidAnswer(answer)
	}
	return answer, nil
}

// send returns a successful answer. The caller closes its body. send does not follow
// redirects, because the new address would receive the token.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	target, method := c.server.JoinPath(r.path), http.MethodGet
	target.RawQuery = r.params.Encode()
	if r.body != nil {
		method = http.MethodPost
	}
	out, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, r.connectionFailed(err)
	}
	out.Header.Set("Accept", r.accept)
	if r.body != nil {
		out.Header.Set("Content-Type", JSON)
	}
	answer, err := c.current().RoundTrip(out)
	if err != nil {
		return nil, r.sendFailed(err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, r.statusAnswer(answer)
	}
	return answer, nil
}

// read returns the whole body.
func (r request) read(answer *http.Response) ([]byte, error) {
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, r.connectionFailed(err)
	}
	return body, nil
}
