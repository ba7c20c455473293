package scale

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// middle is a file in the middle of each generation.
const middle = "s1500/key5"

// endDuringPublish ends the sidecar while it writes the files of another generation. Apps
// must see the old files, if any.
func (s *scene) endDuringPublish(state string) {
	s.t.Helper()
	link, before := s.Generation(), s.copies()
	s.run = s.Start(nil)
	if link != "" {
		s.want["s0/key0"] = "changed " + state
		if err := s.patch("s0", s.want["s0/key0"]); err != nil {
			s.t.Fatal(err)
		}
	}
	testsupport.EventuallyWithin(s.t, patience, "a part of a generation", func() error {
		if s.copies() == before {
			return fmt.Errorf("%d generations", before)
		}
		return nil
	})
	s.end(state)
	if got := s.Generation(); got != link {
		s.t.Logf("%s: SIGTERM came after the publish", state)
	}
}

// copies returns the number of generations that contain the file in the middle.
func (s *scene) copies() int {
	paths, err := filepath.Glob(filepath.Join(s.Dir, "..2*", middle))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(paths)
}

// endDuringRecovery ends the sidecar while it reads the files of the current generation. It
// must leave them in place.
func (s *scene) endDuringRecovery() {
	s.t.Helper()
	link := s.Generation()
	opened, err := onOpen(filepath.Join(s.Dir, link, middle))
	if err != nil {
		s.t.Fatal(err)
	}
	s.run = s.Start(nil)
	select {
	case err := <-opened:
		if err != nil {
			s.t.Fatal(err)
		}
	case <-time.After(patience):
		s.t.Fatalf("waited %v for a reader of %s", patience, middle)
	}
	s.end("during the recovery")
	if got := s.Generation(); got != link {
		s.t.Errorf("..data points to %q after the recovery, want %q", got, link)
	}
}

// onOpen returns a channel that receives a value when a process opens the file.
func onOpen(path string) (<-chan error, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_ONESHOT); err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := unix.Read(fd, make([]byte, 4096))
		opened <- err
		_ = unix.Close(fd)
	}()
	return opened, nil
}
