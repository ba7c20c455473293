package rollout

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// deniedLimit is the time after which a 403 or 401 ends a wait. A starting API server returns
// 403 until the RBAC rules are loaded.
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

// denial returns the error of the last request if requests have been denied for too long.
func (h *health) denial() error {
	if h.denied.IsZero() || h.now.Sub(h.denied) < deniedLimit {
		return nil
	}
	return fmt.Errorf("%w, for %s; `secret-sync rbac --wait ACCOUNT` prints the required Role", h.err, deniedLimit)
}

// final returns the error of the last request if no later request can succeed: a denial, or
// an answer with another code of the class 4xx that does not ask for a retry.
func (h *health) final() error {
	var answer apierrors.APIStatus
	if !errors.As(h.err, &answer) {
		return nil
	}
	switch code := answer.Status().Code; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return h.denial()
	case code/100 == 4 && !slices.Contains([]int32{http.StatusRequestTimeout, http.StatusConflict, http.StatusGone, http.StatusTooManyRequests}, code):
		return h.err
	}
	return nil
}
