//go:build kubelet

package kubelet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/secret-sync/secret-sync/test/harness/nodetest"
)

func quantityOf(text string) *resource.Quantity { return new(resource.MustParse(text)) }

// TestKilled_duringRotations kills a process in the middle of rotations. The app must end up
// with the newest password and never go back to an older password.
func TestKilled_duringRotations(t *testing.T) {
	for _, what := range []string{"secret-sync", "app", "kube-apiserver", "kubelet"} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t)
			s.SetPassword("0")
			s.Deploy(cases+"webhook", nil)
			s.Loaded("app", "0")
			const rotations = 60
			newest := s.observe(t)
			for i := 1; i <= rotations; i++ {
				s.SetPassword(strconv.Itoa(i))
				if i%20 == 10 {
					s.kill(what)
				}
				wait(150 * time.Millisecond)
			}
			began := time.Now()
			a := s.Loaded("app", strconv.Itoa(rotations))
			t.Logf("the app loaded the last password %s after the last rotation, by %s",
				time.Since(began).Round(time.Millisecond), a.By)
			if err := newest(); err != nil {
				t.Error(err)
			}
			if what == "kubelet" || what == "kube-apiserver" {
				if n := s.Restarts("app"); n != 0 {
					t.Errorf("the app restarted %d times", n)
				}
			}
		})
	}
}

// observe polls the app until the returned function is called. That function returns an error
// if the app went back to an older password.
func (s *scene) observe(t *testing.T) func() error {
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		last := 0
		for {
			select {
			case <-stop:
				result <- nil
				return
			case <-time.After(10 * time.Millisecond):
			}
			a, err := nodetest.Ask(s.Addresses["app"])
			if err != nil {
				continue // the app is restarting
			}
			n, err := strconv.Atoi(a.Loaded["password"])
			if err != nil || n < last || a.Loaded["username"] != "app" {
				result <- fmt.Errorf("the app loaded %v after %d: %v", a.Loaded, last, err)
				return
			}
			last = n
		}
	}()
	return func() error { close(stop); return <-result }
}

// kill kills the process of a container, or kills and restarts a server of the node.
func (s *scene) kill(what string) {
	s.Helper()
	if what == "secret-sync" || what == "app" {
		pid := 0
		nodetest.Until(s.T, "the process "+what, func() (err error) { pid, err = s.Process(what); return err })
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			s.Fatal(err)
		}
		return
	}
	if *servers == "" {
		s.Fatal("set the directory of the servers' PID files: -servers")
	}
	if err := restart(filepath.Join(*servers, what+".pid")); err != nil {
		s.Fatal(err)
	}
}

// restart kills the process of a PID file and starts it again with the same arguments.
func restart(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pid := strings.TrimSpace(string(text))
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	line, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if err != nil {
		return err
	}
	path, err := os.Readlink("/proc/" + pid + "/exe")
	if err != nil {
		return err
	}
	environ, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil {
		return err
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		return err
	}
	for syscall.Kill(n, 0) == nil { // the port is free when the process has ended
		wait(10 * time.Millisecond)
		if state, _ := os.ReadFile("/proc/" + pid + "/stat"); bytes.Contains(state, []byte(") Z ")) {
			break
		}
	}
	wait(2 * time.Second) // an outage
	cmd := exec.Command(path)
	cmd.Args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	cmd.Env = strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait()
	return os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
}
