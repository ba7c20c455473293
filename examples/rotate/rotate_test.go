package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

func TestMain(m *testing.M) { st.Main(m, st.Options{}) }

// embedded starts the database of the quickstart.
func embedded(t *testing.T) *dbserver.Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mysqlserver.Serve(t.Context(), l, "root", "root")
	addr := l.Addr().String()
	return &dbserver.Server{URL: "mysql://" + addr + "/" + mysqlserver.Database, Addr: addr, Admin: pool.Credentials{Username: "root", Password: "root"}}
}

// scene is a Secret in a real API server and its users in a database. Pods are one
// app that changes to the Secret's user as late as it may: when a run waits for it.
type scene struct {
	*st.Scene
	t      *testing.T
	server *dbserver.Server
	app    pool.Credentials // what the Pods use
}

func newScene(t *testing.T, server *dbserver.Server) *scene {
	s := &scene{Scene: st.NewWithoutRole(t, nil), t: t, server: server}
	db := s.open()
	defer db.close()
	first := pool.Credentials{Username: "app_a", Password: "first"}
	for _, user := range []string{"app_a", "app_b"} {
		if err := db.drop(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.Put("db", map[string]string{"username": first.Username, "password": first.Password})
	s.app = first
	return s
}

func (s *scene) open() *database {
	s.t.Helper()
	db, err := openDatabase(s.t.Context(), s.server.URL, s.server.Admin)
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

// attempt is one run of the CronJob.
type attempt struct {
	*rotation
	scene *scene
}

func (s *scene) newRun() *attempt {
	db := s.open()
	s.t.Cleanup(db.close)
	return &attempt{scene: s, rotation: &rotation{
		db: db, secrets: s.Secrets(), secret: "db", users: [2]string{"app_a", "app_b"},
		stateFile: filepath.Join(s.t.TempDir(), "version"), out: s.t.Output(),
	}}
}

// wait is what `secret-sync wait` returns after: the Pods use what is in the Secret.
func (r *attempt) wait(context.Context) error {
	r.scene.app = r.scene.inSecret()
	return nil
}

func (s *scene) inSecret() pool.Credentials {
	secret := s.Get("db")
	return pool.Credentials{Username: string(secret.Data["username"]), Password: string(secret.Data["password"])}
}

// check is what holds at any moment: what is in the Secret works, and so does what
// the Pods use.
func (s *scene) check(when string) {
	s.t.Helper()
	for what, c := range map[string]pool.Credentials{"the Secret's": s.inSecret(), "the Pods'": s.app} {
		db := dbserver.Open(s.t, s.server.URL, c)
		if err := db.Ping(); err != nil {
			s.t.Errorf("%s: %s user %s: %v", when, what, c, err)
		}
		db.Close()
	}
}

// users are those that exist.
func (s *scene) users() (all []string) {
	db := s.open()
	defer db.close()
	for _, user := range []string{"app_a", "app_b"} {
		exists, err := db.exists(s.t.Context(), user)
		if err != nil {
			s.t.Fatal(err)
		}
		if exists {
			all = append(all, user)
		}
	}
	return all
}

// mustRun is one whole rotation.
func (s *scene) mustRun() {
	s.t.Helper()
	r := s.newRun()
	for _, step := range []func(context.Context) error{r.prepare, r.wait, r.finish} {
		if err := step(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		s.check("a run")
	}
}

// rotate runs three whole rotations.
func (s *scene) rotate() {
	s.t.Helper()
	for _, want := range []string{"app_b", "app_a", "app_b"} {
		s.mustRun()
		if got := s.users(); !slices.Equal(got, []string{want}) || s.app.Username != want {
			s.t.Errorf("after a rotation: users %q, the Pods use %s, want %s alone", got, s.app, want)
		}
	}
}

func TestRotate(t *testing.T) {
	newScene(t, embedded(t)).rotate()
}

// errDies stands for the end of the process.
var errDies = errors.New("dies here")

// dyingSecrets ends a run at an update of the Secret: before it, or after it.
type dyingSecrets struct {
	v1.SecretInterface
	after bool
}

func (s dyingSecrets) Update(ctx context.Context, secret *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error) {
	if s.after {
		if _, err := s.SecretInterface.Update(ctx, secret, o); err != nil {
			return nil, err
		}
	}
	return nil, errDies
}

// TestDiesAtEachPoint: whatever a run leaves, all credentials work that anybody
// has, and the next two runs end with one user.
func TestDiesAtEachPoint(t *testing.T) {
	server := embedded(t)
	for name, die := range map[string]func(r *attempt) error{
		"before the Secret is changed": func(r *attempt) error {
			r.secrets = dyingSecrets{r.secrets, false}
			return r.prepare(t.Context())
		},
		"after the Secret is changed": func(r *attempt) error {
			r.secrets = dyingSecrets{r.secrets, true}
			return r.prepare(t.Context())
		},
		"before its state is kept": func(r *attempt) error {
			r.stateFile = "/no/such/folder/version"
			return r.prepare(t.Context())
		},
		"before the wait": func(r *attempt) error { return errors.Join(r.prepare(t.Context()), errDies) },
		"after the wait":  func(r *attempt) error { return errors.Join(r.prepare(t.Context()), r.wait(t.Context()), errDies) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, server)
			if err := die(s.newRun()); err == nil {
				t.Fatal("it did not die")
			}
			s.check("dead")
			s.mustRun()
			if got := s.users(); len(got) != 1 || got[0] != s.app.Username {
				t.Errorf("after the next run: users %q, the Pods use %s", got, s.app)
			}
			before := s.app
			s.mustRun()
			if s.app == before {
				t.Error("the run after that did not rotate")
			}
		})
	}
}

// TestTwoRunsAtOnce tries every order of the steps of two runs.
func TestTwoRunsAtOnce(t *testing.T) {
	server := embedded(t)
	for _, order := range orders("aaabbb") {
		s := newScene(t, server)
		runs := map[rune][]func(context.Context) error{}
		for _, name := range "ab" {
			r := s.newRun()
			runs[name] = []func(context.Context) error{r.prepare, r.wait, r.finish}
		}
		for i, name := range order {
			if len(runs[name]) == 0 {
				continue // it has failed
			}
			step := runs[name][0]
			runs[name] = runs[name][1:]
			if err := step(t.Context()); err != nil {
				runs[name] = nil
				if !strings.Contains(err.Error(), "nothing is dropped") {
					t.Errorf("%s: %v", order, err)
				}
			}
			s.check(fmt.Sprintf("%s, step %d", order, i+1))
		}
	}
}

// orders are the different orders of letters.
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

// TestManifests: a server-side dry run where Pod Security is restricted, and a Role
// that is what the program prints.
func TestManifests(t *testing.T) {
	s := st.NewWithoutRole(t, nil)
	s.Restrict()
	for _, folder := range []string{"mariadb", "postgres"} {
		s.DryRun(s.Kustomize(folder))
	}
	printed := s.Print("rbac", "--wait", "rotation", "--secret", "db", "-n", s.Namespace)
	manifest, err := os.ReadFile("base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := st.Rules(t, manifest, "secret-sync-wait-rotation"), st.Rules(t, printed, "secret-sync-wait-rotation"); got != want {
		t.Errorf("base/rbac.yaml: got %s, want %s", got, want)
	}
}
