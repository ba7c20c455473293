package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestRotate_alternatesTheUsers(t *testing.T) {
	newScene(t, embedded(t)).mustRotate()
}

// errDies stands for the end of the process.
var errDies = errors.New("the run dies here")

// dyingSecrets ends a run at the update of the Secret, before or after the update.
type dyingSecrets struct {
	v1.SecretInterface
	after bool
}

func (s dyingSecrets) Update(
	ctx context.Context, secret *corev1.Secret, o metav1.UpdateOptions,
) (*corev1.Secret, error) {
	if s.after {
		if _, err := s.SecretInterface.Update(ctx, secret, o); err != nil {
			return nil, err
		}
	}
	return nil, errDies
}

// TestRotate_diesAtEachPoint ends a run at different points. All credentials in use must
// work, the next run must leave a single user, and the run after it must rotate.
func TestRotate_diesAtEachPoint(t *testing.T) {
	server := embedded(t)
	for name, die := range map[string]func(a *attempt) error{
		"before the update of the Secret": func(a *attempt) error {
			a.secrets = dyingSecrets{a.secrets, false}
			return a.prepareStep(t.Context())
		},
		"after the update of the Secret": func(a *attempt) error {
			a.secrets = dyingSecrets{a.secrets, true}
			return a.prepareStep(t.Context())
		},
		"before the wait": func(a *attempt) error { return errors.Join(a.prepareStep(t.Context()), errDies) },
		"after the wait": func(a *attempt) error {
			return errors.Join(a.prepareStep(t.Context()), a.waitStep(t.Context()), errDies)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, server)
			if err := die(s.newRun()); !errors.Is(err, errDies) {
				t.Fatalf("got error %v, want the end of the run", err)
			}
			s.check("after the end")
			s.mustRun()
			if got := s.existing(); len(got) != 1 || got[0] != s.app.Username {
				t.Errorf("after the next run: users %q exist, and the app uses %s", got, s.app)
			}
			before := s.app
			s.mustRun()
			if s.app == before {
				t.Error("the run after the next run did not rotate")
			}
		})
	}
}

// TestRotate_twoRunsInEveryOrder interleaves the steps of two runs in every order.
func TestRotate_twoRunsInEveryOrder(t *testing.T) {
	server := embedded(t)
	for _, order := range orders("aaabbb") {
		s := newScene(t, server)
		runs := map[rune][]func(context.Context) error{'a': s.newRun().steps(), 'b': s.newRun().steps()}
		for i, name := range order {
			if len(runs[name]) == 0 {
				continue // the run failed
			}
			step := runs[name][0]
			runs[name] = runs[name][1:]
			if err := step(t.Context()); err != nil {
				runs[name] = nil
				if !strings.Contains(err.Error(), "keeping user") {
					t.Errorf("%s: %v", order, err)
				}
			}
			s.check(fmt.Sprintf("%s, step %d", order, i+1))
		}
	}
}

// orders returns the distinct permutations of letters.
func orders(letters string) (all []string) {
	if letters == "" {
		return []string{""}
	}
	for i, letter := range letters {
		if i > 0 && strings.ContainsRune(letters[:i], letter) {
			continue
		}
		for _, rest := range orders(letters[:i] + letters[i+1:]) {
			all = append(all, string(letter)+rest)
		}
	}
	return all
}

// hangingSecrets holds each update until resume is closed.
type hangingSecrets struct {
	v1.SecretInterface
	hanging chan<- struct{}
	resume  <-chan struct{}
}

func (s hangingSecrets) Update(
	ctx context.Context, secret *corev1.Secret, o metav1.UpdateOptions,
) (*corev1.Secret, error) {
	s.hanging <- struct{}{}
	<-s.resume
	return s.SecretInterface.Update(ctx, secret, o)
}

// TestRotate_hangingUpdate covers a first run whose update of the Secret hangs and whose
// database connection dies, while a second run performs a whole rotation. The update
// arrives last. It must not put a user into the Secret that the second run has dropped.
func TestRotate_hangingUpdate(t *testing.T) {
	s := newScene(t, embedded(t))
	first := s.newRun()
	hanging, resume, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	first.secrets = hangingSecrets{first.secrets, hanging, resume}
	go func() { ended <- first.prepareStep(t.Context()) }()
	<-hanging
	loseLock(t, first.db)
	s.mustRun()
	close(resume)
	if err := <-ended; err == nil {
		t.Error("the hanging update succeeded, want a conflict")
	}
	s.check("after the hanging update")
	s.mustRun()
	if got := s.existing(); !slices.Equal(got, []string{s.app.Username}) {
		t.Errorf("users %q exist, want %s", got, s.app)
	}
}

// loseLock closes the connection holding the lock.
func loseLock(t *testing.T, db *database) {
	t.Helper()
	err := db.conn.Raw(func(any) error { return driver.ErrBadConn })
	if !errors.Is(err, driver.ErrBadConn) {
		t.Fatal(err)
	}
}

// TestRun_waitFails covers a run whose wait fails. The run must drop nobody.
func TestRun_waitFails(t *testing.T) {
	s := newScene(t, embedded(t))
	a := s.newRun()
	a.rotation.wait.run = func(context.Context, string) error { return errors.New("exit status 1") }
	err := a.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "keeping user app_a: secret-sync wait: exit status 1") {
		t.Errorf("got error %v, want the failed wait", err)
	}
	if got := s.existing(); len(got) != 2 {
		t.Errorf("users %q exist, want both", got)
	}
}

// TestPreview_changesNothing checks the output of a dry run, for a new rotation and for an
// unfinished rotation.
func TestPreview_changesNothing(t *testing.T) {
	s := newScene(t, embedded(t))
	checkPreview(t, s, "CREATE USER `app_b`@`%` IDENTIFIED BY '…'\n"+
		"GRANT SELECT, INSERT, UPDATE, DELETE ON `app`.* TO `app_b`@`%`\n"+
		"update Secret \"db\": username app_b, password …\n"+
		"secret-sync wait --secret db --direct --version VERSION\n"+
		"DROP USER `app_a`@`%`\n")
	mustDo(t, s.newRun().prepareStep(t.Context()))
	checkPreview(t, s, "finishing an earlier rotation: user app_a exists\n"+
		"secret-sync wait --secret db --direct --version VERSION\n"+
		"DROP USER `app_a`@`%`\n")
}

// checkPreview compares the output of a dry run. The run must change nothing.
func checkPreview(t *testing.T, s *scene, want string) {
	t.Helper()
	version, existing := s.Get("db").ResourceVersion, s.existing()
	var out strings.Builder
	a := s.newRun()
	a.out, a.rotation.wait = &out, waitCommand("db", []string{"--direct"})
	mustDo(t, a.preview(t.Context()))
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if got := s.Get("db").ResourceVersion; got != version {
		t.Error("the dry run changed the Secret")
	}
	if got := s.existing(); !slices.Equal(got, existing) {
		t.Errorf("the dry run changed the users from %q to %q", existing, got)
	}
}

// TestManifests_restricted applies the CronJobs under the Pod Security level "restricted".
// The Role for wait must equal the output of `secret-sync rbac`, without pods/proxy, which
// --direct does not need. The job itself reads and updates the Secret.
func TestManifests_restricted(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	s.Restrict()
	for _, dir := range []string{"mariadb", "postgres"} {
		s.DryRun(s.Kustomize(dir))
	}
	manifest, err := os.ReadFile("base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	printed := s.Print("rbac", "--wait", "rotation", "--secret", "db", "-n", s.Namespace)
	want := withoutProxy(t, string(printed))
	const name = "secret-sync-wait-rotation"
	if got, want := st.Rules(t, manifest, name), st.Rules(t, []byte(want), name); got != want {
		t.Errorf("base/rbac.yaml: got %s, want %s", got, want)
	}
	const job = `[{"verbs":["get","update"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["db"]}]`
	if got := st.Rules(t, manifest, "rotation"); got != job {
		t.Errorf("base/rbac.yaml: got %s for the job, want %s", got, job)
	}
}

// withoutProxy removes the rule for pods/proxy from a manifest.
func withoutProxy(t *testing.T, manifest string) string {
	t.Helper()
	const rule = "- apiGroups: [\"\"]\n  resources: [pods/proxy]\n  verbs: [get]\n"
	if !strings.Contains(manifest, rule) {
		t.Fatalf("no rule for pods/proxy in\n%s", manifest)
	}
	return strings.Replace(manifest, rule, "", 1)
}
