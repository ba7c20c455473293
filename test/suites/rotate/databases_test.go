//go:build programs

package rotate

import (
	"database/sql"
	"net/url"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

var administrator = pool.Credentials{Username: "rotation", Password: "rotation"}

// A databaseServer is a real server with the administrator of the job.
type databaseServer struct {
	*dbserver.Server
	root *sql.DB
}

// database returns the server with another database, and its administrator.
func (s *databaseServer) database(t *testing.T, name string) *dbserver.Server {
	t.Helper()
	u, err := url.Parse(s.URL)
	mustDo(t, err)
	u.Path = "/" + name
	return &dbserver.Server{URL: u.String(), Addr: s.Addr, Admin: administrator, Log: s.Log}
}

// checkOpenSession leaves a session of the old user open. The run must fail and keep the user, and the next run must
// drop it.
func (s *scene) checkOpenSession() {
	s.t.Helper()
	session := s.open()
	r := s.newRun(st.Env{"ROTATE_SESSION_TIMEOUT": "300ms"})
	wantError(s.t, r.all(), "keeping user app_a: it has 1 sessions")
	session.Close()
	s.mustRun()
	s.wantUsers("after the next run", "app_b")
}
