package main

import (
	"context"
	"database/sql"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

func TestMain(m *testing.M) { st.Main(m, st.Options{}) }

var (
	users     = [2]string{"app_a", "app_b"}
	firstUser = pool.Credentials{Username: "app_a", Password: "first"}
)

// A scene is a Secret in a real API server and its users in a database. Its app reloads at
// the last permitted moment: when a run waits for it.
type scene struct {
	*st.Scene
	t      *testing.T
	server *dbserver.Server
	users  [2]string
	app    pool.Credentials // credentials in use by the app
}

// embedded starts the database of the quickstart.
func embedded(t *testing.T) *dbserver.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mysqlserver.Serve(t.Context(), l, "root", "root")
	addr := l.Addr().String()
	admin := pool.Credentials{Username: "root", Password: "root"}
	return &dbserver.Server{URL: "mysql://" + addr + "/" + mysqlserver.Database, Addr: addr, Admin: admin}
}

// newScene returns a scene whose database contains the first user only.
func newScene(t *testing.T, server *dbserver.Server) *scene {
	t.Helper()
	return newSceneWithUsers(t, server, users)
}

func newSceneWithUsers(t *testing.T, server *dbserver.Server, users [2]string) *scene {
	t.Helper()
	s := &scene{Scene: st.NewWithoutRole(t, nil), t: t, server: server, users: users}
	s.app = pool.Credentials{Username: users[0], Password: firstUser.Password}
	db, unlock := s.locked()
	defer unlock()
	for _, user := range users {
		if exists, err := db.exists(t.Context(), user); err != nil {
			t.Fatal(err)
		} else if exists {
			mustDo(t, db.drop(t.Context(), user))
		}
	}
	mustDo(t, db.create(t.Context(), s.app))
	s.SetSecret("db", map[string]string{"username": s.app.Username, "password": s.app.Password})
	return s
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// locked returns the database with the lock.
func (s *scene) locked() (db *database, unlock func()) {
	s.t.Helper()
	db, err := openDatabase(s.t.Context(), s.server.URL, s.server.Admin)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.close)
	unlock, err = db.lock(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return db, unlock
}

// An attempt is a run of the job, split into its steps.
type attempt struct {
	*rotation
	scene  *scene
	target state
}

func (s *scene) newRun() *attempt {
	s.t.Helper()
	db, err := openDatabase(s.t.Context(), s.server.URL, s.server.Admin)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.close)
	a := &attempt{scene: s, rotation: &rotation{
		db: db, secrets: s.Secrets(), secret: "db", users: s.users,
		sessionTimeout: time.Minute, out: s.t.Output(),
	}}
	a.rotation.wait.run = func(context.Context, string) error {
		s.app = s.inSecret()
		return nil
	}
	return a
}

func (a *attempt) steps() []func(context.Context) error {
	return []func(context.Context) error{a.prepareStep, a.waitStep, a.finishStep}
}

func (a *attempt) prepareStep(ctx context.Context) (err error) {
	a.target, err = a.prepare(ctx)
	return err
}

func (a *attempt) waitStep(ctx context.Context) error {
	return a.rotation.wait.run(ctx, a.target.object.ResourceVersion)
}

func (a *attempt) finishStep(ctx context.Context) error { return a.finish(ctx, a.target) }

// inSecret returns the credentials in the Secret.
func (s *scene) inSecret() pool.Credentials {
	s.t.Helper()
	secret := s.Get("db")
	return pool.Credentials{Username: string(secret.Data["username"]), Password: string(secret.Data["password"])}
}

// check checks the invariant: the credentials in the Secret work, and so do the credentials
// in use by the app.
func (s *scene) check(moment string) {
	s.t.Helper()
	for owner, c := range map[string]pool.Credentials{"the Secret": s.inSecret(), "the app": s.app} {
		db := dbserver.Open(s.t, s.server.URL, c)
		if err := db.Ping(); err != nil {
			s.t.Errorf("%s: user %s of %s: %v", moment, c, owner, err)
		}
		db.Close()
	}
}

// existing returns the existing users.
func (s *scene) existing() (all []string) {
	s.t.Helper()
	db, unlock := s.locked()
	defer unlock()
	for _, user := range s.users {
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

// mustRun performs a whole run, and checks the scene after each step.
func (s *scene) mustRun() {
	s.t.Helper()
	for _, step := range s.newRun().steps() {
		mustDo(s.t, step(s.t.Context()))
		s.check("in a run")
	}
}

// mustRotate performs three runs, and checks the users after each of them.
func (s *scene) mustRotate() {
	s.t.Helper()
	for i := range 3 {
		want := s.users[1-i%2]
		s.mustRun()
		if got := s.existing(); !slices.Equal(got, []string{want}) || s.app.Username != want {
			s.t.Errorf("after rotation %d: users %q exist and the app uses %s, want %s", i+1, got, s.app, want)
		}
	}
}

// open opens a session as the app.
func (s *scene) open() *sql.DB {
	s.t.Helper()
	db := dbserver.Open(s.t, s.server.URL, s.app)
	mustDo(s.t, db.Ping())
	return db
}
