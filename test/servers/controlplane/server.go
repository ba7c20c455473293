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

// server is one of the two programs, which can be ended and started again with
// the same arguments.
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

// stop kills the server and waits: what clients see is a crash.
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

// ended reports that the server ended by itself, with the end of its log.
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

// freePorts asks the kernel for n ports, all held until the last is known. They
// are free a moment later, not for ever: who uses them must be ready to try again.
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
