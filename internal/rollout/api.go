package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

const (
	askTimeout  = 5 * time.Second  // for the answer of a sidecar
	readTimeout = 30 * time.Second // for the answer of the API server
	deniedLimit = 30 * time.Second // of 403 or 401; a starting API server returns 403 until RBAC is loaded
)

var hashSeed = maphash.MakeSeed()

// Survey asks every sidecar of the namespace once. It returns the current version of the Secret, and the Pods that
// count with the answers of their sidecars. A Pod without a started container counts.
func Survey(ctx context.Context, o Options, namespace string) (Result, error) {
	o.Namespaces, o.SignalGrace, o.StartGrace = []string{namespace}, 0, math.MaxInt64
	w := newWaiter(o)
	s := w.scopes[0]
	if !w.read(ctx, s) {
		return Result{}, errors.Join(s.get.err, ctx.Err())
	}
	pods, _, err := o.listPods(ctx, s)
	if err != nil {
		return Result{}, err
	}
	s.replace(pods, time.Now())
	for _, p := range pods {
		p.Sidecars = map[string]*status.Document{}
	}
	var group errgroup.Group
	group.SetLimit(maxAsking)
	for _, q := range s.due(time.Now(), math.MaxInt) {
		group.Go(func() error {
			document, err := o.askSidecar(ctx, q)
			w.mu.Lock()
			defer w.mu.Unlock()
			q.Sidecars[q.container] = s.answer(q, document, err, time.Now(), 0)
			return nil
		})
	}
	_ = group.Wait()
	return w.result(), nil
}

// readSecret performs a quorum read of the Secret. Of its data it keeps a hash. A different encoding of equal data
// counts as a change, but the API server always encodes alike.
func (o *Options) readSecret(ctx context.Context, namespace string) (r reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	body, err := o.API.Get(ctx, kube.Secrets.Path(namespace, o.Secret))
	if err != nil {
		return r, err
	}
	var object struct {
		kube.TypeMeta
		metav1.ObjectMeta `json:"metadata"`
		Data              json.RawMessage
	}
	if json.Unmarshal(body, &object) != nil || !object.Is(kube.Secrets) || object.ResourceVersion == "" {
		return r, fmt.Errorf("read Secret %s/%s: the answer does not come from an API server", namespace, o.Secret)
	}
	r = reading{uid: string(object.UID), version: object.ResourceVersion, data: maphash.Bytes(hashSeed, object.Data)}
	for _, field := range object.ManagedFields {
		if field.Time != nil && field.Time.After(r.changed) {
			r.changed = field.Time.Time
		}
	}
	return r, nil
}

func (o *Options) listPods(ctx context.Context, s *scope) (pods []*pod, version string, err error) {
	version, err = kube.List(ctx, o.API, s.query, func(object podObject) {
		pods = append(pods, object.reduce(s.query.Namespace, s.Secret))
	})
	return pods, version, err
}

func (o *Options) askSidecar(ctx context.Context, q query) (d *status.Document, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body []byte
	port := strconv.Itoa(q.port)
	switch {
	case !o.Direct:
		body, err = o.API.Get(ctx, kube.Pods.Path(q.Namespace, q.Name+":"+port, "proxy/status"))
	case q.address == "":
		err = errors.New("the Pod has no address")
	default:
		body, err = status.Fetch(ctx, net.JoinHostPort(q.address, port))
	}
	if err == nil {
		d, err = status.Parse(body)
	}
	if err != nil {
		return nil, fmt.Errorf("its sidecar does not answer (container %s, port %s): %w", q.container, port, err)
	}
	return d, nil
}

// A health tracks whether the API server answers a kind of request.
type health struct {
	err    error     // of the last request
	denied time.Time // since when every answer was a 403 or a 401, zero if it was not
	final  error     // err, if no later request can succeed
}

// note stores the result of a request, unless ctx ended, and reports whether it succeeded. A denial becomes final
// after deniedLimit. Any other code of the class 4xx is final at once, unless it asks for a retry.
func (h *health) note(ctx context.Context, err error, now time.Time) bool {
	if ctx.Err() != nil {
		return false
	}
	since := h.denied
	*h = health{err: err}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return err == nil
	}
	switch code := answer.Status().Code; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		h.denied = cmp.Or(since, now)
		if now.Sub(h.denied) >= deniedLimit {
			const format = "%w, for %s; `secret-sync rbac --wait ACCOUNT` prints the required Role"
			h.final = fmt.Errorf(format, err, deniedLimit)
		}
	case code == http.StatusRequestTimeout, code == http.StatusGone, code == http.StatusTooManyRequests:
	case code/100 == 4:
		h.final = err
	}
	return false
}
