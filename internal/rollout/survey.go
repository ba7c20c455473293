package rollout

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/secret-sync/secret-sync/internal/status"
)

// Survey asks every sidecar of the namespace once. It returns the current version of the
// Secret, and the Pods that count with the answers of their sidecars. A Pod without a started
// container counts.
func Survey(ctx context.Context, o Options, namespace string) (Result, error) {
	o.SignalGrace, o.StartGrace = 0, math.MaxInt64
	w, s := &waiter{Options: &o}, o.newScope(namespace)
	w.scopes = []*scope{s}
	if !w.read(ctx, s) {
		return Result{}, errors.Join(s.get.err, ctx.Err())
	}
	pods, _, err := o.listPods(ctx, s)
	if err != nil {
		return Result{}, err
	}
	s.replace(pods, time.Now())
	answers := map[string]map[string]*status.Document{}
	for _, p := range pods {
		answers[p.uid] = map[string]*status.Document{}
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(maxAsking)
	for _, q := range s.due(time.Now(), math.MaxInt) {
		group.Go(func() error {
			document, err := o.askSidecar(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if !s.answer(q, document, err, time.Now(), 0) {
				document = nil
			}
			answers[q.uid][q.container] = document
			return nil
		})
	}
	_ = group.Wait()
	r := w.result()
	for i, p := range r.Pods {
		r.Pods[i].Sidecars = answers[p.UID]
	}
	return r, nil
}
