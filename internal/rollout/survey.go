package rollout

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/secret-sync/secret-sync/internal/status"
)

// An Observation is the state of a Pod in a Survey.
type Observation struct {
	PodState
	Created  time.Time                   `json:"created"`
	Sidecars map[string]*status.Document `json:"sidecars"` // by container; nil without a valid answer
}

// Survey asks every sidecar of the namespace once. It returns the current version of the
// Secret and the Pods that count. A Pod without a started container counts.
func Survey(ctx context.Context, o Options, namespace string) (v Version, pods []Observation, err error) {
	o.SignalGrace, o.StartGrace = 0, math.MaxInt64
	s := o.newScope(namespace)
	r, err := o.readSecret(ctx, namespace)
	if err != nil {
		return v, nil, err
	}
	s.history.read(r)
	list, _, err := o.listPods(ctx, s)
	if err != nil {
		return v, nil, err
	}
	s.replace(list, time.Now())
	answers := o.askAll(ctx, s)
	for _, state := range s.states(time.Now()) {
		pod := s.pods[state.UID]
		o := Observation{PodState: state, Created: pod.created, Sidecars: map[string]*status.Document{}}
		for _, p := range pod.probes {
			o.Sidecars[p.container] = answers[p]
		}
		pods = append(pods, o)
	}
	return Version{namespace, s.Secret, r.uid, r.version}, pods, nil
}

// askAll asks every sidecar of the scope once.
func (o *Options) askAll(ctx context.Context, s *scope) map[*probe]*status.Document {
	var mu sync.Mutex
	answers := map[*probe]*status.Document{}
	var group errgroup.Group
	group.SetLimit(maxAsking)
	for _, q := range s.due(time.Now(), math.MaxInt) {
		group.Go(func() error {
			document, err := o.askSidecar(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if s.answer(q, document, err, time.Now(), 0) {
				answers[q.probe] = document
			}
			return nil
		})
	}
	_ = group.Wait()
	return answers
}
