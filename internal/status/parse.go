package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// transport sends requests to Pods. It ignores the proxy variables of the environment, follows no redirect, and keeps
// no connection: a wait asks thousands of Pods.
var transport = &http.Transport{DisableKeepAlives: true}

// Fetch requests the document of the sidecar at HOST:PORT. It returns at most 8 MiB for Parse.
func Fetch(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: HTTP %s", request.URL, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 8<<20))
}

// Parse parses a document. It returns an error if the document is of another format or lacks
// a required field. A null counts as missing. It ignores unknown fields. Its errors quote
// nothing from data, because data may come from another program.
func Parse(data []byte) (*Document, error) {
	var d Document
	var fields any
	problem := ""
	if json.Unmarshal(data, &d) != nil || json.Unmarshal(data, &fields) != nil {
		problem = "no JSON object of this form"
	} else if d.Format != Format {
		problem = fmt.Sprintf("its format is %d", d.Format)
	} else if name := missing(reflect.TypeFor[Document](), fields); name != "" {
		problem = name + " is missing"
	}
	if problem != "" {
		return nil, fmt.Errorf("not a status document of format %d: %s", Format, problem)
	}
	return &d, nil
}

// missing returns the first field of type t that is absent from value, "" for none. Every field without an
// option in its tag is required: a document without targets does not mean that all are notified.
func missing(t reflect.Type, value any) string {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			if name := missing(t.Elem(), element); name != "" {
				return name
			}
		}
	case map[string]any:
		if t.Kind() == reflect.Map {
			return missing(t, slices.Collect(maps.Values(value)))
		}
		for field := range t.Fields() {
			key, option, _ := strings.Cut(field.Tag.Get("json"), ",")
			if value[key] == nil && option == "" {
				return key
			}
			if name := missing(field.Type, value[key]); name != "" {
				return key + "." + name
			}
		}
	}
	return ""
}
