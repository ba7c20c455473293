//go:build programs

package filewatchers

import (
	"bufio"
	"os/exec"
	"testing"
)

func init() { consumers = append(consumers, consumer{name: "watchdog", follow: watchdogFollow}) }

// python is Debian's interpreter, which finds the packages of Debian.
const python = "/usr/bin/python3"

// watchdogFollow uses watchdog, which combines the two events of a rename into a move.
func watchdogFollow(t *testing.T, v volume, seen func(string)) {
	if out, err := exec.Command(python, "-c", "import watchdog").CombinedOutput(); err != nil {
		t.Fatalf(
			"this test requires Python's watchdog: apt-get install -y --no-install-recommends python3-watchdog\n%v %s",
			err,
			out,
		)
	}
	cmd := exec.Command(python, "-B", "testdata/follow.py", v.folder, v.file("password"))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("follow.py ended before it was ready")
	}
	go func() {
		for lines.Scan() {
			seen(lines.Text())
		}
	}()
}
