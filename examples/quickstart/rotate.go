package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// pickUp is how long a rotation may take to reach all apps.
const pickUp = "15s"

// signalGrace is for an app that is signalled, and cannot say when it has reloaded: its
// queries here take some milliseconds.
const signalGrace = "1s"

// rotation is what was seen of one. Durations are from the API server's answer,
// which an event may just precede: the watch and the answer run side by side. Of
// what each replica does, they are those of the last one.
type rotation struct {
	user                    string
	changed                 time.Time
	swapped, notified, pool time.Duration
	waited, dropped         time.Duration
	queries, failed         int64
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
//  1. a new user with a new password is made,
//  2. the Secret gets that user and password,
//  3. `secret-sync wait` returns when every app has changed to new connections,
//     and has closed its old ones: the apps say so to their sidecars,
//  4. the old user is dropped at once,
//  5. the load goes on, and connections keep opening, so that an old user that is
//     still in use somewhere would show.
func (d *demo) rotate(ctx context.Context) error {
	next := pool.Credentials{Username: d.database.Other(d.current.Username), Password: rand.Text()}
	if err := d.database.CreateUser(ctx, next); err != nil { // 1
		return err
	}
	before := time.Now()
	if err := d.putSecret(ctx, next); err != nil { // 2
		return err
	}
	r := rotation{user: next.Username, changed: time.Now()}
	if err := d.wait(ctx); err != nil { // 3
		return err
	}
	r.waited = time.Since(r.changed)
	old := d.current
	d.current = next
	if err := d.database.DropUser(ctx, old.Username); err != nil { // 4
		return err
	}
	r.dropped = time.Since(r.changed)
	if err := d.database.Refused(ctx, old); err != nil {
		return err
	}
	if err := d.note(&r, before); err != nil {
		return err
	}
	if err := sleep(ctx, d.options.interval); err != nil { // 5
		return err
	}
	r.queries, r.failed = d.queries()
	d.rotations = append(d.rotations, r)
	d.printRotation(len(d.rotations), r)
	return nil
}

// wait is `secret-sync wait`, as the rotation's own account.
func (d *demo) wait(ctx context.Context) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, d.binary(), "wait",
		"--secret", secretName, "--selector", labels, "-n", d.namespace, "--direct", "--timeout", pickUp, "--signal-grace", signalGrace)
	cmd.Env = []string{"KUBECONFIG=" + d.waitAs}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("secret-sync wait: %w\n%s%s", err, out.String(), d.lastLines())
	}
	return ctx.Err()
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

// note takes from what was seen since the change when the last replica did what.
func (d *demo) note(r *rotation, since time.Time) error {
	for _, replica := range d.replicas {
		events := replica.observer.Since(since)
		first := map[string]time.Time{} // a repetition is not the change
		for _, e := range events {
			if _, ok := first[e.Kind]; !ok && (e.Kind != "pool" || e.User == r.user) {
				first[e.Kind] = e.At
			}
		}
		if first["pool"].IsZero() {
			return fmt.Errorf("secret-sync wait returned before %s changed to %s%s", replica.name, r.user, replica.lastLines())
		}
		for kind, to := range map[string]*time.Duration{"swapped": &r.swapped, "notified": &r.notified, "pool": &r.pool} {
			*to = max(*to, first[kind].Sub(r.changed))
		}
	}
	return nil
}

// queries counts those of all replicas.
func (d *demo) queries() (done, failed int64) {
	for _, r := range d.replicas {
		done += r.load.Done.Load()
		failed += r.load.Failed.Load()
	}
	return done, failed
}

// verdict is an error if a query failed.
func (d *demo) verdict() error {
	for _, r := range d.replicas {
		if r.load == nil {
			continue
		}
		if n := r.load.Failed.Load(); n > 0 {
			return fmt.Errorf("%d queries of %s failed, the first: %w", n, r.name, r.load.FirstError())
		}
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
