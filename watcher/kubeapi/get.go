package kubeapi

import (
	"context"
	"io"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime"
)

// Media types for Get.
const (
	JSON = runtime.ContentTypeJSON
	// MetadataOnly asks for an object without all but its metadata: of a Secret,
	// no value leaves the API server.
	MetadataOnly = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
)

// Get sends a GET for a path of the API server and returns the body, to be closed
// by the caller. It ends with ctx. Any error is an *Error.
func (c *Client) Get(ctx context.Context, accept, path string, params url.Values) (io.ReadCloser, error) {
	request := c.current().Get().AbsPath(path).SetHeader("Accept", accept).MaxRetries(0)
	for name, values := range params {
		for _, value := range values {
			request.Param(name, value)
		}
	}
	answer, err := request.Stream(ctx)
	if err == nil {
		return answer, nil
	}
	e := requestError("get", err)
	if e.Outdated() {
		c.Renew()
	}
	return nil, e
}
