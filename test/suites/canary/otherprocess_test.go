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

// readVariable makes this test binary a process that reads all that /proc has of
// another one.
const readVariable = "CANARY_READ"

// readProcess prints what there is in /proc/PID, the memory with it.
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
			target, _ := os.Readlink(path) // of a descriptor, or root
			fmt.Fprintln(out, path, target)
		case d.Name() == "mem":
			copyMemory(out, path)
		case d.Name() != "pagemap" && d.Name() != "clear_refs":
			copyFile(out, path)
		}
		return nil
	})
}

// copyFile prints a file, or the beginning of one that does not end.
func copyFile(out io.Writer, path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(out, path)
	_, _ = io.CopyN(out, f, 1<<20)
}

// copyMemory prints the regions that the process can write to.
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

// asAnotherProcess looks at the sidecar as an app does that has its UID and shares its
// process namespace. A process of that user that anybody may look at shows that this
// would see something.
func (c *canary) asAnotherProcess() {
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
	if c.in(c.seen(open.Process.Pid)) == "" {
		c.t.Error("the value in the environment of a process that is open is not seen")
	}
	seen := c.seen(c.run.PID())
	if !strings.Contains(seen, "State:") {
		c.t.Errorf("the sidecar is not seen: %.300q", seen)
	}
	c.check("/proc of the sidecar", seen)
}

// seen is what a process of the sidecar's user reads.
func (c *canary) seen(pid int) string {
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

// copyExecutable puts this test binary where another user can run it.
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
