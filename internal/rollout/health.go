package rollout

import (
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// deniedLimit is the time after which a 403 or 401 ends a wait. An API server that starts
// returns 403 until it has loaded the RBAC rules.
const deniedLimit = 30 * time.Second

// A health tracks whether the API server answers requests.
type health struct {
	err    error
	denied time.Time // since when every answer was a 403 or a 401, zero if it was not
	now    time.Time // of the last answer
}

// note stores the result of a request.
func (h *health) note(err error, now time.Time) {
	h.err, h.now = err, now
	switch {
	case !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err):
		h.denied = time.Time{}
	case h.denied.IsZero():
		h.denied = now
	}
}

// problem returns the error of the last request, "" for none.
func (h *health) problem() string {
	if h.err == nil {
		return ""
	}
	return h.err.Error()
}

// denial returns the error of the last request if requests have been denied for too long.
func (h *health) denial() error {
	if h.denied.IsZero() || h.now.Sub(h.denied) < deniedLimit {
		return nil
	}
	return fmt.Errorf("%w, for %s; `secret-sync rbac --wait ACCOUNT` prints the required Role", h.err, deniedLimit)
}

// final returns the error of the last request if no later request can succeed.
func (h *health) final() error {
	for _, is := range []func(error) bool{apierrors.IsNotFound, apierrors.IsBadRequest, apierrors.IsInvalid,
		apierrors.IsMethodNotSupported, apierrors.IsNotAcceptable} {
		if is(h.err) {
			return h.err
		}
	}
	return h.denial()
}
