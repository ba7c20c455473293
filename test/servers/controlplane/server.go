package controlplane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// A server is a program that can be stopped, and started again with the same arguments.
type server struct {
	path string
	args []string
	log  string

	mu      sync.Mutex
	process *childprocess.Process // nil: stopped
}

func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("%s is running already", filepath.Base(s.path))
	}
	out, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.Command(s.path, s.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = filepath.Dir(s.log)
	s.process, err = childprocess.Start(cmd)
	return err
}

// stop kills the server and waits for its end. Its clients see a crash.
func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Kill()
		s.process = nil
	}
}

func (s *server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("%s is not running", filepath.Base(s.path))
	}
	return s.process.Signal(sig)
}

// ended returns an error with the end of the log if the server ended without stop.
func (s *server) ended() error {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.Done():
		text, _ := os.ReadFile(s.log)
		return fmt.Errorf("%s ended: %s\n%s", filepath.Base(s.path), p.State(), tail(string(text), 15))
	default:
		return nil
	}
}

// freePorts returns n ports that were free at the same time. Another process may take a
// port before it is used, so the caller must be ready to try again.
func freePorts(n int) ([]int, error) {
	var ports []int
	var errs error
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, errs
}
