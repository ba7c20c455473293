package rollout

import (
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestHealth: a denial ends a wait only after a time, and a response that cannot change ends
// it at once.
func TestHealth(t *testing.T) {
	resource := schema.GroupResource{Resource: "secrets"}
	denied, gone := apierrors.NewForbidden(resource, "db", nil), apierrors.NewNotFound(resource, "db")
	other := func(code int) error {
		return apierrors.NewGenericServerResponse(code, "get", resource, "db", "", 0, true)
	}
	for _, c := range []struct {
		name   string
		errors []error // one every 10 s
		final  bool
	}{
		{"denied for 20 s", []error{denied, denied, denied}, false},
		{"denied for 30 s", []error{denied, denied, denied, denied}, true},
		{"not denied in between", []error{denied, denied, nil, denied, denied}, false},
		{"the token is rejected", []error{apierrors.NewUnauthorized("x"), denied, denied, denied}, true},
		{"an outage", []error{errLost, errLost, errLost, errLost, errLost}, false},
		{"overloaded", []error{apierrors.NewTooManyRequests("x", 1)}, false},
		{"unavailable", []error{other(http.StatusServiceUnavailable)}, false},
		{"the request timed out", []error{other(http.StatusRequestTimeout)}, false},
		{"the next page of a list has expired", []error{apierrors.NewResourceExpired("x")}, false},
		{"not found", []error{gone}, true},
		{"bad request", []error{apierrors.NewBadRequest("x")}, true},
		{"works", []error{nil}, false},
	} {
		var h health
		for i, err := range c.errors {
			h.note(t.Context(), err, start.Add(time.Duration(i)*10*time.Second))
		}
		if got := h.final; (got != nil) != c.final {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
