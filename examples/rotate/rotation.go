package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
)

// A rotation replaces the user in a Secret with the other of two users. At any moment,
// also after a crash, the user in the Secret exists and has the password in the Secret.
// The other user exists only during a rotation.
type rotation struct {
	db             *database
	secrets        v1.SecretInterface
	secret         string // name of the Secret
	users          [2]string
	wait           wait
	sessionTimeout time.Duration
	out            io.Writer
}

// A state is a version of the Secret.
type state struct {
	object  *corev1.Secret
	current pool.Credentials // the user in the Secret
	other   string           // the other user
}

// run performs the rotation, or finishes a rotation of an earlier run.
func (r *rotation) run(ctx context.Context) error {
	target, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	if err := r.wait.run(ctx, target.object.ResourceVersion); err != nil {
		return fmt.Errorf("keeping user %s: secret-sync wait: %w", target.other, err)
	}
	return r.finish(ctx, target)
}

// prepare creates the other user and writes it to the Secret. It returns the state that
// the Pods must use before finish.
//
//  1. Take the lock, which excludes prepare and finish of other runs.
//  2. If the other user exists, an earlier run did not finish. It died before its update
//     of the Secret, and no Pod uses the other user, or it died later, and some Pods may
//     still use it. The wait and finish of this run cover both cases. But the update may
//     still be under way, so change an annotation: an update of the old version then fails.
//  3. Else create the other user. After a crash here, the next run continues with step 2.
//  4. Write the user to the Secret. The update fails if the Secret changed after step 1.
func (r *rotation) prepare(ctx context.Context) (state, error) {
	unlock, err := r.db.lock(ctx) // 1
	if err != nil {
		return state{}, err
	}
	defer unlock()
	s, err := r.read(ctx)
	if err != nil {
		return state{}, err
	}
	unfinished, err := r.db.exists(ctx, s.other)
	if err != nil {
		return state{}, err
	}
	if unfinished { // 2
		fmt.Fprintf(r.out, "finishing an earlier rotation: user %s exists\n", s.other)
		now := time.Now().UTC().Format(time.RFC3339Nano)
		metav1.SetMetaDataAnnotation(&s.object.ObjectMeta, "secret-sync/rotation-resumed", now)
		return r.update(ctx, s.object)
	}
	next := pool.Credentials{Username: s.other, Password: rand.Text()}
	if err := r.db.create(ctx, next); err != nil { // 3
		return state{}, err
	}
	s.object.Data["username"], s.object.Data["password"] = []byte(next.Username), []byte(next.Password)
	s, err = r.update(ctx, s.object) // 4
	if err != nil {
		return state{}, err
	}
	fmt.Fprintf(r.out, "Secret %q contains user %s\n", r.secret, next)
	return s, nil
}

// finish drops the other user after its last session. If any check fails, it drops no
// user, and the next run continues.
//
//  1. Take the lock.
//  2. Log in as the user in the Secret.
//  3. Wait for the end of all sessions of the other user. An app may report its reload too
//     early, or may not use the sidecar at all.
//  4. Read the Secret again. If its data changed, no wait covers the new data.
//  5. Drop the other user, who must exist: a run that changes nothing must not succeed.
func (r *rotation) finish(ctx context.Context, target state) error {
	unlock, err := r.db.lock(ctx) // 1
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.check(ctx, target); err != nil { // 2, 3, 4
		return fmt.Errorf("keeping user %s: %w", target.other, err)
	}
	if err := r.db.drop(ctx, target.other); err != nil { // 5
		return err
	}
	fmt.Fprintf(r.out, "dropped user %s\n", target.other)
	return nil
}

// check performs the checks of finish.
func (r *rotation) check(ctx context.Context, target state) error {
	login, err := r.db.login(ctx, target.current)
	if err != nil {
		return fmt.Errorf("the user in Secret %q cannot log in: %w", r.secret, err)
	}
	defer login.Close()
	// The login above is a session, so an administrator who sees no session sees too little.
	if n, err := r.db.sessions(ctx, target.current.Username); err != nil {
		return err
	} else if n == 0 {
		return errors.New("the administrator cannot see sessions of other users: in MariaDB, grant PROCESS ON *.*")
	}
	if err := r.waitForSessions(ctx, target.other); err != nil {
		return err
	}
	now, err := r.read(ctx)
	if err != nil {
		return err
	}
	if now.object.UID != target.object.UID || now.current != target.current {
		return fmt.Errorf("the data of Secret %q has changed since the wait: run the rotation again", r.secret)
	}
	exists, err := r.db.exists(ctx, target.other)
	if err == nil && !exists {
		err = errors.New("it does not exist; another run may have dropped it")
	}
	return err
}

// waitForSessions waits for the end of all sessions of a user.
func (r *rotation) waitForSessions(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, r.sessionTimeout)
	defer cancel()
	for {
		n, err := r.db.sessions(ctx, user)
		if err == nil && n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			late := fmt.Errorf("it has %d sessions after %s: an app has not reloaded", n, r.sessionTimeout)
			return errors.Join(late, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// preview prints the statements of a rotation without secret values. It changes nothing.
func (r *rotation) preview(ctx context.Context) error {
	unlock, err := r.db.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := r.read(ctx)
	if err != nil {
		return err
	}
	unfinished, err := r.db.exists(ctx, s.other)
	if err != nil {
		return err
	}
	old := s.other
	if unfinished {
		fmt.Fprintf(r.out, "finishing an earlier rotation: user %s exists\n", s.other)
	} else {
		old = s.current.Username
		statements, err := r.db.dialect.create(r.db.name, pool.Credentials{Username: s.other, Password: "…"})
		if err != nil {
			return err
		}
		for _, statement := range statements {
			fmt.Fprintln(r.out, statement)
		}
		fmt.Fprintf(r.out, "update Secret %q: username %s, password …\n", r.secret, s.other)
	}
	r.wait.print(r.out)
	fmt.Fprintln(r.out, r.db.dialect.drop(old))
	return nil
}

// read returns the state of the Secret.
func (r *rotation) read(ctx context.Context) (state, error) {
	object, err := r.secrets.Get(ctx, r.secret, metav1.GetOptions{})
	if err != nil {
		return state{}, fmt.Errorf("read Secret %q: %w", r.secret, err)
	}
	return r.stateOf(object)
}

// update writes the Secret and returns its new state. It fails if the Secret changed
// after object was read.
func (r *rotation) update(ctx context.Context, object *corev1.Secret) (state, error) {
	object, err := r.secrets.Update(ctx, object, metav1.UpdateOptions{})
	if err != nil {
		return state{}, fmt.Errorf("update Secret %q: %w", r.secret, err)
	}
	return r.stateOf(object)
}

func (r *rotation) stateOf(object *corev1.Secret) (state, error) {
	s := state{object: object}
	s.current = pool.Credentials{Username: string(object.Data["username"]), Password: string(object.Data["password"])}
	i := slices.Index(r.users[:], s.current.Username)
	if i < 0 {
		return state{}, fmt.Errorf("the username in Secret %q must be %s or %s", r.secret, r.users[0], r.users[1])
	}
	s.other = r.users[1-i]
	return s, nil
}
