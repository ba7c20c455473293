package kube

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// TestList: an answer that is not a complete list of this kind is an error, not an empty
// list.
func TestList(t *testing.T) {
	const list = `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{},{}]}`
	for _, c := range []struct {
		name, contentType, body string
		items                   int // 0: an error
	}{
		{"list", "application/json; charset=utf-8", list, 2},
		{"list without a media type", "", list, 2},
		{"Protobuf", "application/vnd.kubernetes.protobuf", "k8s\x00\n\x10\n\x02v1\x12\nSecretList", 0},
		{"HTML", "text/html", "<html>", 0},
		{"wrong kind", jsonType, strings.Replace(list, "Secret", "Pod", 1), 0},
		{"Secret", jsonType, strings.Replace(list, "SecretList", "Secret", 1), 0},
		{"no kind", jsonType, strings.Replace(list, "SecretList", "", 1), 0},
		{"no version", jsonType, strings.Replace(list, "7", "", 1), 0},
		{"half a list", jsonType, list[:len(list)/2], 0},
		{"empty body", jsonType, "", 0},
	} {
		items, version, err := readList(answering(200, c.contentType, []byte(c.body)), secrets)
		if len(items) != c.items || (err == nil) != (c.items > 0) || (version == "7") != (c.items > 0) {
			t.Errorf("%s: got %d items, version %q and %v, want %d items", c.name, len(items), version, err, c.items)
		}
	}
}

// TestList_pages: a list by label is read in pages. If the version of the pages expires,
// the caller must begin again. A list by name needs no pages.
func TestList_pages(t *testing.T) {
	const page = `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},` +
		`"items":[{},{}]}`
	var requests []string
	expired := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, token := r.URL.Query().Get("limit"), r.URL.Query().Get("continue")
		requests = append(requests, limit+token)
		w.Header().Set("Content-Type", jsonType)
		switch {
		case expired && token == "b":
			w.WriteHeader(http.StatusGone)
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired",`+
				`"message":"too old"}`)
		case limit == "":
			_, _ = fmt.Fprintf(w, page, "")
		default:
			_, _ = fmt.Fprintf(w, page, map[string]string{"": "a", "a": "b", "b": ""}[token])
		}
	}))
	defer server.Close()
	c := newClient(t, &rest.Config{Host: server.URL})
	for _, step := range []struct {
		name    string
		expired bool
		items   int
		want    []string
	}{
		{"", false, 6, []string{"100", "100a", "100b"}},
		{"", true, 0, []string{"100", "100a", "100b"}},
		{"db", false, 2, []string{""}},
	} {
		requests, expired = nil, step.expired
		query := secrets
		query.Name = step.name
		items, version, err := readList(c, query)
		ok := err == nil && version == "7" && len(items) == step.items
		if step.expired {
			ok = apierrors.IsResourceExpired(err) && version == ""
		}
		if !ok || !slices.Equal(requests, step.want) {
			t.Errorf("name %q, expired %v: got %d items of version %q in requests %q (%v),"+
				" want %d items in requests %q",
				step.name, step.expired, len(items), version, requests, err, step.items, step.want)
		}
	}
}
