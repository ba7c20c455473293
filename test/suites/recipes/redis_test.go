//go:build programs

package recipes

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/examples/app/pool"
	"github.com/secret-sync/secret-sync/test/servers/dbserver"
)

// TestRedisPython uses users of Redis instead of a database's users. A transaction is a WATCH,
// 100 ms without a command, and a MULTI with INCR and GET.
func TestRedisPython(t *testing.T) {
	run(t, recipe{database: dbserver.Redis, notify: "webhook", command: redisPython})
}

func redisPython(w *world) *exec.Cmd {
	need(w.t, "/usr/lib/python3/dist-packages/redis", "python3-redis")
	return exec.Command("/usr/bin/python3", "-B", w.file("recipes/redis/app.py"))
}

// A redisUsers is a Redis server for its administrator.
type redisUsers struct {
	t      *testing.T
	server *dbserver.Server
}

func newRedisUsers(t *testing.T, server *dbserver.Server) *redisUsers {
	r := &redisUsers{t, server}
	r.run("SET", "secretsync_items", "3")
	return r
}

func (r *redisUsers) create(c pool.Credentials) {
	r.t.Helper()
	r.run("ACL", "SETUSER", c.Username, "on", ">"+c.Password, "~*", "+@all", "-@admin", "-@dangerous")
}

func (r *redisUsers) alter(c pool.Credentials) {
	r.t.Helper()
	r.run("ACL", "SETUSER", c.Username, "resetpass", ">"+c.Password)
}

// drop also ends the sessions of the user.
func (r *redisUsers) drop(user string) {
	r.t.Helper()
	r.run("ACL", "DELUSER", user)
}

// sessions ignores connections that have not logged in: Redis assigns them to default.
func (r *redisUsers) sessions(user string) (ids []int64, err error) {
	out, err := r.command("CLIENT", "LIST").Output()
	for line := range strings.Lines(string(out)) {
		client := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			client[name] = value
		}
		switch client["user"] {
		case "", "root", "default", user:
		default:
			id, _ := strconv.ParseInt(client["id"], 10, 64)
			ids = append(ids, id)
		}
	}
	return ids, err
}

func (r *redisUsers) killOldSessions() {
	r.t.Helper()
	ids, err := r.sessions("root")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range ids {
		_ = r.command("CLIENT", "KILL", "ID", fmt.Sprint(id)).Run() // the session may have ended already
	}
}

func (r *redisUsers) transactions() int64 {
	r.t.Helper()
	n, err := strconv.ParseInt(r.run("GET", "secretsync_done"), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// command returns the command of redis-cli, as the administrator.
func (r *redisUsers) command(args ...string) *exec.Cmd {
	return dbserver.RedisCLI(r.t, r.server, args...)
}

// run runs a command. An error contains the first two words, because the rest may contain a
// password.
func (r *redisUsers) run(args ...string) string {
	r.t.Helper()
	out, err := r.command(args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%q …: %v: %s", args[:2], err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out))
}
