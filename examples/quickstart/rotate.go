package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// pickUp is how long a rotation may take to reach the app.
const pickUp = 15 * time.Second

// rotation is what was seen of one. Durations are from the API server's answer,
// which an event may just precede: the watch and the answer run side by side.
type rotation struct {
	user                string
	changed             time.Time
	swapped, told, pool time.Duration
	refused             bool
	queries, failed     int64
}

func (d *demo) rotateAll(ctx context.Context) error {
	d.printHeader()
	for range d.options.rotations {
		if err := d.rotate(ctx); err != nil {
			return errors.Join(fmt.Errorf("rotation %d: %w", len(d.rotations)+1, err), d.verdict())
		}
	}
	return nil
}

// rotate is one rotation:
//
//  1. the user that nobody uses gets a new password,
//  2. the Secret gets that user and password,
//  3. the app changes to new connections: this is what secret-sync is for; and
//     lets the queries of the old ones end,
//  4. the other user's password is changed, so that the old one is refused,
//  5. the load goes on, and connections keep opening, so that an old password
//     that is still in use somewhere would show.
func (d *demo) rotate(ctx context.Context) error {
	user := d.database.users[(len(d.rotations)+1)%2]
	next := pool.Credentials{Username: user, Password: rand.Text()}
	if err := d.database.setPassword(ctx, next.Username, next.Password); err != nil { // 1
		return err
	}
	before := time.Now()
	if err := d.putSecret(ctx, next); err != nil { // 2
		return err
	}
	r := rotation{user: user, changed: time.Now()}
	if err := d.waitForPool(ctx, before, &r); err != nil { // 3
		return err
	}
	if err := d.waitForDrain(ctx); err != nil {
		return err
	}
	old := d.current
	d.current = next
	if err := d.database.setPassword(ctx, old.Username, rand.Text()); err != nil { // 4
		return err
	}
	if err := d.database.refused(ctx, old); err != nil {
		return err
	}
	r.refused = true
	if err := sleep(ctx, d.options.interval); err != nil { // 5
		return err
	}
	r.queries, r.failed = d.load.done.Load(), d.load.failed.Load()
	d.rotations = append(d.rotations, r)
	d.printRotation(len(d.rotations), r)
	return nil
}

// putSecret creates or updates the Secret.
func (d *demo) putSecret(ctx context.Context, c pool.Credentials) error {
	secrets := d.cluster.Client.CoreV1().Secrets(d.namespace)
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretName},
		StringData: map[string]string{"username": c.Username, "password": c.Password},
	}
	_, err := secrets.Update(ctx, s, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) { // the first time, or somebody deleted it to see what happens
		_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
	}
	return err
}

// waitForPool waits until the app has connections of r's user.
func (d *demo) waitForPool(ctx context.Context, from time.Time, r *rotation) error {
	timeout := time.After(pickUp)
	for {
		events, more := d.observer.since(from)
		if slices.ContainsFunc(events, func(e event) bool { return e.kind == "pool" && e.user == r.user }) {
			for _, e := range slices.Backward(events) { // the first of each kind stays
				r.note(e)
			}
			return nil
		}
		select {
		case <-more:
		case <-timeout:
			return fmt.Errorf("the app did not change to %s within %s%s", r.user, pickUp, d.lastWords())
		case <-d.sidecar.Done():
			return fmt.Errorf("the sidecar ended: %s%s", d.sidecar.State(), d.lastWords())
		case <-d.app.Done():
			return fmt.Errorf("the app ended: %s%s", d.app.State(), d.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitForDrain waits until the app's old connections are closed. Until then a
// query that began on them may open one more, with the old password.
func (d *demo) waitForDrain(ctx context.Context) error {
	deadline := time.Now().Add(pickUp)
	for {
		status, err := d.status(ctx)
		if err == nil && status.Draining == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the app has not drained its old connections within %s: %+v, %w%s", pickUp, status, err, d.lastWords())
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (r *rotation) note(e event) {
	after := e.at.Sub(r.changed)
	switch e.kind {
	case "swapped":
		r.swapped = after
	case "told":
		r.told = after
	case "pool":
		r.pool = after
	}
}

// verdict is an error if a query failed.
func (d *demo) verdict() error {
	if n := d.load.failed.Load(); n > 0 {
		return fmt.Errorf("%d queries failed, the first: %w", n, d.load.firstError())
	}
	return nil
}

func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}
