package canary

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// readVariable makes this test binary print everything in /proc about another process.
const readVariable = "CANARY_READ"

// readProcess prints the contents of /proc/PID, including the memory.
func readProcess(pid string) {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	dir := filepath.Join("/proc", pid)
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && d != nil && d.IsDir():
			return fs.SkipDir
		case err != nil, d.IsDir():
			return nil
		case d.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path) // a descriptor, or root
			fmt.Fprintln(out, path, target)
		case d.Name() == "mem":
			copyMemory(out, path)
		case d.Name() != "pagemap" && d.Name() != "clear_refs":
			copyFile(out, path)
		}
		return nil
	})
}

// copyFile prints a file, or the beginning of an endless file.
func copyFile(out io.Writer, path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(out, path)
	_, _ = io.CopyN(out, f, 1<<20)
}

// copyMemory prints the writable regions of the memory.
func copyMemory(out io.Writer, path string) {
	mem, err := os.Open(path)
	if err != nil {
		return
	}
	defer mem.Close()
	maps, err := os.ReadFile(filepath.Join(filepath.Dir(path), "maps"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err == nil && strings.HasPrefix(mode, "rw") {
			fmt.Fprintln(out, line)
			_, _ = io.Copy(out, io.NewSectionReader(mem, from, to-from))
		}
	}
}

// checkOtherProcess reads the sidecar's /proc as an app with the same UID in a shared process
// namespace. A dumpable process of the same user shows that the search would find a value.
func (c *canary) checkOtherProcess() {
	value := c.values[len(c.values)-1]
	open := exec.Command("/bin/sh", "-c", "read line; sleep 60")
	open.Env = []string{"VALUE=" + value}
	open.SysProcAttr = &syscall.SysProcAttr{Credential: c.user, Pdeathsig: syscall.SIGKILL}
	stdin, err := open.StdinPipe()
	if err == nil {
		err = open.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = open.Process.Kill(); _ = open.Wait() }()
	if c.find(c.readAs(open.Process.Pid)) == "" {
		c.t.Error("the value in the environment of a dumpable process was not found")
	}
	seen := c.readAs(c.run.PID())
	if !strings.Contains(seen, "State:") {
		c.t.Errorf("the sidecar was not found: %.300q", seen)
	}
	c.check("/proc of the sidecar", seen)
}

// readAs returns everything readable by a process of the sidecar's user.
func (c *canary) readAs(pid int) string {
	path := filepath.Join(c.cores, "reader")
	if _, err := os.Stat(path); err != nil {
		copyExecutable(c.t, path)
	}
	cmd := exec.Command(path)
	cmd.Env = []string{fmt.Sprintf("%s=%d", readVariable, pid)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("read /proc of %s: %v", st.Binary(), err)
	}
	return string(out)
}

// copyExecutable copies this test binary to a path where another user can run it.
func copyExecutable(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
