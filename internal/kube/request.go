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
)

// Media types.
const (
	JSON = "application/json"
	// MetadataOnly asks for an object without all but its metadata: of a Secret,
	// no value leaves the API server.
	MetadataOnly = JSON + ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
)

// Path is that of a resource in a namespace, or of something in it.
func Path(namespace string, elements ...string) string {
	return "/api/v1/namespaces/" + namespace + "/" + strings.Join(elements, "/")
}

// largestDocument limits what Get reads, in bytes: it may come from a Pod.
const largestDocument = 8 << 20

// Get reads what is at a path of the API server.
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

// Create creates an object, given as JSON.
func (c *Client) Create(ctx context.Context, namespace, resource string, object []byte) error {
	r := request{verb: "create", resource: resource, path: Path(namespace, resource), accept: JSON, body: object}
	answer, err := c.sendAndRenew(ctx, r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// sendAndRenew reads the credentials again for the next request, when the server did
// not accept them.
func (c *Client) sendAndRenew(ctx context.Context, r request) (*http.Response, error) {
	answer, err := c.send(ctx, r)
	if e := (*Error)(nil); errors.As(err, &e) && e.Outdated() {
		c.Renew()
	}
	return answer, err
}

// request is one request of the API server.
type request struct {
	verb, resource string // as in a Role, for errors
	path           string
	params         url.Values
	accept         string
	body           []byte // of a create, JSON
}

// sendForJSON refuses another answer. One without a type is taken for JSON, as by
// client-go.
func (c *Client) sendForJSON(ctx context.Context, r request) (*http.Response, error) {
	answer, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	contentType := answer.Header.Get("Content-Type")
	if is, _, _ := mime.ParseMediaType(contentType); contentType != "" && is != JSON {
		_ = answer.Body.Close()
		return nil, r.garbage(answer)
	}
	return answer, nil
}

// send returns a good answer, whose body is to be closed. It follows no redirect,
// which would take the token elsewhere. The REST client of client-go would hide the
// body's type and errors, which took a recorder of 25 lines, and needs a scheme:
// 0.2 MB of the binary.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	target, method := c.server.JoinPath(r.path), http.MethodGet
	target.RawQuery = r.params.Encode()
	if r.body != nil {
		method = http.MethodPost
	}
	out, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, r.failed(err)
	}
	out.Header.Set("Accept", r.accept)
	if r.body != nil {
		out.Header.Set("Content-Type", JSON)
	}
	answer, err := c.current().RoundTrip(out)
	if err != nil {
		return nil, r.failed(err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, r.answered(answer)
	}
	return answer, nil
}

// read reads the whole of an answer.
func (r request) read(answer *http.Response) ([]byte, error) {
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, r.failed(err)
	}
	return body, nil
}
