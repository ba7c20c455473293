package scale

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// report prints the use of CPU, memory and space since the start of the sidecar.
func (s *scene) report(state string) {
	s.t.Helper()
	size, err := s.size()
	if err != nil {
		s.t.Fatal(err)
	}
	m, cpu := s.usage()
	s.t.Logf("%s: %v of CPU, RSS %s MB (peak %s MB), volume %s MB",
		state, cpu, usage.MB(m.RSS), usage.MB(m.Peak), usage.MB(size))
}

func (s *scene) usage() (usage.Memory, time.Duration) {
	s.t.Helper()
	m, err := usage.MemoryOf(s.run.PID())
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := usage.ActivityOf(s.run.PID())
	if err != nil {
		s.t.Fatal(err)
	}
	return m, a.CPU
}

// size returns the disk space of the volume.
func (s *scene) size() (bytes int64, err error) {
	err = filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("stat %s: no system information", path)
		}
		bytes += stat.Blocks * 512
		return nil
	})
	return bytes, err
}
