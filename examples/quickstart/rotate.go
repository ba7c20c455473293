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

const (
	// waitTimeout limits the time until every app has reloaded.
	waitTimeout = "15s"
	// signalGrace is the time for a reload after a signal, which the app cannot confirm.
	// The queries of the load take a few milliseconds.
	signalGrace = "1s"
)

// A rotation contains the times of a finished rotation. Durations start with the API
// server's answer to the update and end with the last replica. An event may precede the
// answer slightly, because the watch and the answer are independent.
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

// rotate rotates the credentials a single time:
//
//  1. Create a user with a new password.
//  2. Update the Secret with the new user and password.
//  3. Wait until every app has opened new connections and closed its old connections.
//     Each app reports this to its sidecar.
//  4. Drop the old user immediately.
//  5. Continue the load. The apps keep opening connections, so a query fails if an app
//     still uses the old user.
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

// wait runs `secret-sync wait` with the rotation's own service account.
func (d *demo) wait(ctx context.Context) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, d.binary(), "wait",
		"--secret", secretName, "--selector", labels, "-n", d.namespace, "--direct",
		"--timeout", waitTimeout, "--signal-grace", signalGrace)
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
	if apierrors.IsNotFound(err) { // the first update, or the user deleted it as an experiment
		_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
	}
	return err
}

// note copies the times of the events since the update into r.
func (d *demo) note(r *rotation, since time.Time) error {
	for _, replica := range d.replicas {
		events := replica.observer.Since(since)
		first := map[string]time.Time{} // by kind; later events of a kind are repetitions
		for _, e := range events {
			if _, ok := first[e.Kind]; !ok && (e.Kind != "pool" || e.User == r.user) {
				first[e.Kind] = e.At
			}
		}
		if first["pool"].IsZero() {
			return fmt.Errorf("secret-sync wait returned before %s changed to %s%s",
				replica.name, r.user, replica.lastLines())
		}
		times := map[string]*time.Duration{"swapped": &r.swapped, "notified": &r.notified, "pool": &r.pool}
		for kind, to := range times {
			*to = max(*to, first[kind].Sub(r.changed))
		}
	}
	return nil
}

// queries returns the number of queries of all replicas.
func (d *demo) queries() (done, failed int64) {
	for _, r := range d.replicas {
		done += r.load.Done.Load()
		failed += r.load.Failed.Load()
	}
	return done, failed
}

// verdict returns an error if a query failed.
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
