package mysqlserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// Command is the argument with which StartSelf starts this program again. With this
// argument, the program's main function must call Main and do nothing else.
const Command = "embedded-database"

const (
	admin                 = "root"
	adminPasswordVariable = "EMBEDDED_DATABASE_ADMIN_PASSWORD"
)

// Main serves on the inherited descriptor 3 and returns the exit code.
func Main() int {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err == nil {
		err = Serve(context.Background(), l, admin, os.Getenv(adminPasswordVariable))
	}
	fmt.Fprintln(os.Stderr, "database:", err)
	return 1
}

// StartSelf runs the server in a separate process of this program. It returns the
// administrator's URL.
func StartSelf(log io.Writer) (*childprocess.Process, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	password := rand.Text()
	cmd := exec.Command(self, Command)
	cmd.Env = append(os.Environ(), adminPasswordVariable+"="+password)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := childprocess.Start(cmd)
	return p, fmt.Sprintf("mysql://%s:%s@%s/%s", admin, password, l.Addr(), Database), err
}
