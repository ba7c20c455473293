package rotate

import (
	"database/sql"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
	"github.com/secret-sync/secret-sync/test/servers/faultproxy"
	"github.com/secret-sync/secret-sync/test/servers/mysqlserver"
)

var (
	users     = [2]string{"app_a", "app_b"}
	firstUser = pool.Credentials{Username: "app_a", Password: "first-password"}
)

// A scene is a Secret in a real API server and its users in a database. Its app reloads at
// the last permitted moment: when a run waits for it.
type scene struct {
	*st.Scene
	t      *testing.T
	server *dbserver.Server
	users  [2]string
	app    pool.Credentials // credentials in use by the app
	job    string           // kubeconfig with the permissions in base/rbac.yaml
}

// embedded starts the database of the quickstart.
func embedded(t *testing.T) *dbserver.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mustDo(t, err)
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
	s.Apply([]byte(st.Read(t, example+"base/rbac.yaml")))
	var err error
	s.job, err = st.ControlPlane().TokenKubeconfig(t.Context(), s.Namespace, "rotation")
	mustDo(t, err)
	s.app = pool.Credentials{Username: users[0], Password: firstUser.Password}
	admin := s.admin()
	for _, user := range s.existing() {
		mustExec(t, admin, "DROP USER "+s.account(user))
	}
	mustExec(t, admin, s.createFirst()...)
	s.putCredentials(s.app)
	return s
}

func (s *scene) isPostgreSQL() bool { return strings.HasPrefix(s.server.URL, "postgres") }

// account returns the quoted name of a user.
func (s *scene) account(user string) string {
	if s.isPostgreSQL() {
		return quote(user, `"`)
	}
	return quote(user, "`") + "@`%`"
}

// createFirst returns the statements that create the first user, with the privileges in the README.
func (s *scene) createFirst() []string {
	s.t.Helper()
	u, err := url.Parse(s.server.URL)
	mustDo(s.t, err)
	database, account := strings.TrimPrefix(u.Path, "/"), s.account(s.app.Username)
	if s.isPostgreSQL() {
		return []string{
			"CREATE ROLE " + account + " LOGIN IN ROLE " + quote(database, `"`) +
				" PASSWORD " + quote(s.app.Password, "'"),
			"ALTER ROLE " + account + " SET role TO " + quote(database, "'"),
		}
	}
	return []string{
		"CREATE USER " + account + " IDENTIFIED BY " + quote(s.app.Password, "'"),
		"GRANT SELECT, INSERT, UPDATE, DELETE ON " + pattern(database) + ".* TO " + account,
	}
}

// quote doubles each quote in text.
func quote(text, quote string) string {
	return quote + strings.ReplaceAll(text, quote, quote+quote) + quote
}

// pattern returns the pattern of a GRANT in MariaDB for a single database.
func pattern(database string) string {
	return quote(strings.NewReplacer(`\`, `\\`, "_", `\_`, "%", `\%`).Replace(database), "`")
}

// admin opens a session as the administrator of the job.
func (s *scene) admin() *sql.DB {
	s.t.Helper()
	return dbserver.Open(s.t, s.server.URL, s.server.Admin)
}

func mustExec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// throughGateway makes later runs of the scene reach the API server through a gateway.
func (s *scene) throughGateway() *faultproxy.Gateway {
	s.t.Helper()
	g := faultproxy.NewGateway(s.t)
	s.job = faultproxy.DetourFile(s.t, s.job, g.Address(), g.CAFile)
	return g
}

func (s *scene) putCredentials(c pool.Credentials) {
	s.t.Helper()
	s.SetSecret("db", map[string]string{"username": c.Username, "password": c.Password})
}

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
	query := "SELECT COUNT(*) FROM mysql.user WHERE User = ?"
	if s.isPostgreSQL() {
		query = "SELECT COUNT(*) FROM pg_roles WHERE rolname = $1"
	}
	for _, user := range s.users {
		if s.count(query, user) > 0 {
			all = append(all, user)
		}
	}
	return all
}

// sessions returns the number of sessions of a user.
func (s *scene) sessions(user string) int {
	s.t.Helper()
	return s.count("SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?", user)
}

// count returns the result of a query for a user.
func (s *scene) count(query, user string) (n int) {
	s.t.Helper()
	admin := s.admin()
	defer admin.Close()
	mustDo(s.t, admin.QueryRow(query, user).Scan(&n))
	return n
}

// wantUsers checks which users exist.
func (s *scene) wantUsers(moment string, want ...string) {
	s.t.Helper()
	if got := s.existing(); !slices.Equal(got, want) {
		s.t.Errorf("%s: users %q exist, want %q", moment, got, want)
	}
}

// mustRun performs a whole run, and checks the scene after each step.
func (s *scene) mustRun() {
	s.t.Helper()
	for _, step := range s.newRun(nil).steps() {
		mustDo(s.t, step())
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
