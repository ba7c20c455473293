package sidecartest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// Files returns the contents of the files that an app sees in the volume, by path. It
// follows links, including links to directories, and skips names that begin with "..".
func (s *Scene) Files() (map[string]string, error) {
	files := map[string]string{}
	return files, s.collect("", files)
}

func (s *Scene) collect(dir string, files map[string]string) error {
	entries, err := os.ReadDir(filepath.Join(s.Dir, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(filepath.Join(s.Dir, name))
		if err != nil {
			return err
		}
		if info.IsDir() {
			if err := s.collect(name, files); err != nil {
				return err
			}
			continue
		}
		content, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			return err
		}
		files[name] = string(content)
	}
	return nil
}

// WaitFiles waits until the volume holds exactly these files.
func (s *Scene) WaitFiles(want map[string]string) {
	s.T.Helper()
	testsupport.Eventually(s.T, "files", func() error { return s.CheckFiles(want) })
}

// CheckFiles returns an error if the files in the volume differ from want.
func (s *Scene) CheckFiles(want map[string]string) error {
	got, err := s.Files()
	if err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("files are\n%swant\n%s", describe(got), describe(want))
	}
	return nil
}

func describe(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "  %s: %.40q\n", name, files[name])
	}
	return b.String()
}

// Generation returns the target of ..data, or "" if ..data is missing.
func (s *Scene) Generation() string {
	target, _ := os.Readlink(filepath.Join(s.Dir, "..data"))
	return target
}
