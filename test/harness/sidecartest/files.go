package sidecartest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files are the files that an app sees in the volume, by path, with their
// contents. Links are followed, also those to folders; names that begin with
// ".." are not an app's business.
func (s *Scene) Files() (map[string]string, error) {
	files := map[string]string{}
	return files, s.collect("", files)
}

func (s *Scene) collect(folder string, files map[string]string) error {
	entries, err := os.ReadDir(filepath.Join(s.Dir, folder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		name := filepath.Join(folder, e.Name())
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

// WaitFiles waits until the volume holds just these files.
func (s *Scene) WaitFiles(want map[string]string) {
	s.T.Helper()
	Until(s.T, "files", func() error { return s.CheckFiles(want) })
}

// CheckFiles says how the files differ from what is wanted.
func (s *Scene) CheckFiles(want map[string]string) error {
	got, err := s.Files()
	if err != nil {
		return err
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("files are\n%swant\n%s", list(got), list(want))
	}
	return nil
}

func list(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "  %s: %.40q\n", name, files[name])
	}
	return b.String()
}

// Generation is the target of ..data, "" without one.
func (s *Scene) Generation() string {
	target, _ := os.Readlink(filepath.Join(s.Dir, "..data"))
	return target
}
