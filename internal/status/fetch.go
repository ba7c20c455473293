package status

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// largestDocument limits the bytes of a document.
const largestDocument = 8 << 20

// client sends requests to Pods. It ignores the proxy variables of the environment, follows
// no redirect, and keeps no connection: a wait asks thousands of Pods.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Fetch requests the document of the sidecar at HOST:PORT. It returns the body for Parse.
func Fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: HTTP %s", request.URL, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, largestDocument))
}
