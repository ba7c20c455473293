package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// rotation is one rotation of a Secret between two users. What is true at any
// moment, whoever dies: the user in the Secret exists, with the password in the
// Secret. The other user exists only while a rotation is not finished.
type rotation struct {
	db        *database
	secrets   v1.SecretInterface
	secret    string
	users     [2]string
	stateFile string
	out       io.Writer
}

// version is which state of the Secret the Pods are waited for.
type version struct{ UID, ResourceVersion string }

func versionOf(s *corev1.Secret) version { return version{string(s.UID), s.ResourceVersion} }

// prepare makes the other user and puts it into the Secret.
//
//  1. Lock, so that no other prepare or finish is between two of these steps.
//  2. If the other user exists, an earlier run was not finished: it died before it
//     changed the Secret, and nobody uses that user, or after, and some Pods still
//     do. Nothing is changed; the wait and finish of this run tell which, and drop
//     it.
//  3. Make the other user. A crash leaves it for step 2 of the next run.
//  4. Put it into the Secret, if that is as it was in step 2. From here on the other
//     user is the one that was in the Secret before.
//  5. Keep the Secret's version for finish.
func (r *rotation) prepare(ctx context.Context) error {
	unlock, err := r.db.lock(ctx) // 1
	if err != nil {
		return err
	}
	defer unlock()
	s, other, err := r.read(ctx)
	if err != nil {
		return err
	}
	exists, err := r.db.exists(ctx, other) // 2
	if err != nil {
		return err
	}
	if exists {
		fmt.Fprintf(r.out, "an earlier rotation was not finished, since the user %s exists: going on with it\n", other)
		return r.keep(versionOf(s))
	}
	next := pool.Credentials{Username: other, Password: rand.Text()}
	if err := r.db.create(ctx, next); err != nil { // 3
		return err
	}
	s.Data["username"], s.Data["password"] = []byte(next.Username), []byte(next.Password)
	if s, err = r.secrets.Update(ctx, s, metav1.UpdateOptions{}); err != nil { // 4; it has the version of step 2
		return fmt.Errorf("update Secret %q: %w", r.secret, err)
	}
	fmt.Fprintf(r.out, "the Secret %q has the user %s now\n", r.secret, next)
	return r.keep(versionOf(s)) // 5
}

// finish drops the user that is not in the Secret, once all Pods are on the
// version that prepare kept. If the Secret was changed since, another run did that,
// and nobody knows which users the Pods have: nothing is dropped, and the next run
// goes on.
func (r *rotation) finish(ctx context.Context) error {
	unlock, err := r.db.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	waitedFor, err := r.kept()
	if err != nil {
		return err
	}
	s, old, err := r.read(ctx)
	if err != nil {
		return err
	}
	if now := versionOf(s); now != waitedFor {
		return fmt.Errorf("the Secret %q is at version %s, and the Pods were waited for at %s: nothing is dropped; run the rotation again",
			r.secret, now.ResourceVersion, waitedFor.ResourceVersion)
	}
	if err := r.db.drop(ctx, old); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "dropped the user %s\n", old)
	return nil
}

// read reads the Secret, and tells which user is not in it.
func (r *rotation) read(ctx context.Context) (s *corev1.Secret, other string, err error) {
	if s, err = r.secrets.Get(ctx, r.secret, metav1.GetOptions{}); err != nil {
		return nil, "", fmt.Errorf("read Secret %q: %w", r.secret, err)
	}
	i := slices.Index(r.users[:], string(s.Data["username"]))
	if i < 0 {
		return nil, "", fmt.Errorf("the username in Secret %q is neither %s nor %s: put one of them there first", r.secret, r.users[0], r.users[1])
	}
	return s, r.users[1-i], nil
}

func (r *rotation) keep(v version) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(r.stateFile, data, 0o600)
}

func (r *rotation) kept() (v version, err error) {
	data, err := os.ReadFile(r.stateFile)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return v, fmt.Errorf("what prepare kept: %w", err)
	}
	return v, nil
}
