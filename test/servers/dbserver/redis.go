package dbserver

import (
	"net"
	"os/exec"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// Redis starts Redis and stops it at the end of the test. It rejects clients without a user.
func Redis(t testing.TB) *Server {
	t.Helper()
	dir, account := newDir(t, "redis")
	addr := childprocess.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	s := &Server{URL: "redis://" + addr, Addr: addr, Admin: admin}
	ping := func() error { return RedisCLI(t, s, "PING").Run() }
	s.serve(t, account, ping, need(t, "redis-server", "redis-server"), "--port", port, "--bind", "127.0.0.1",
		"--dir", dir, "--save", "",
		"--user", "default", "off", "--user", "root", "on", ">"+adminPassword, "~*", "&*", "+@all")
	return s
}

// RedisCLI returns a command of redis-cli, as the administrator. It fails if Redis reports an
// error.
func RedisCLI(t testing.TB, s *Server, args ...string) *exec.Cmd {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	cmd := exec.Command(need(t, "redis-cli", "redis-tools"),
		append([]string{"-e", "-h", host, "-p", port, "--user", s.Admin.Username}, args...)...)
	cmd.Env = []string{"REDISCLI_AUTH=" + s.Admin.Password}
	return cmd
}
