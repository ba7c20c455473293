package longlife

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"
)

// watch reads the volume until the returned function is called. It reads each generation
// through its directory handle. A Secret must never be torn between two values
// or go back to an older value, and the volume must stay ready. The returned
// function stops it and returns the number of reads.
func watch(t *testing.T, dir string) (stop func() int) {
	quit, done := make(chan struct{}), make(chan int)
	go func() {
		newest, looks := map[string]string{}, 0
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		defer func() { done <- looks }()
		for {
			if err := readGeneration(dir, newest); err != nil {
				t.Error(err)
				return
			}
			looks++
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	return func() int { close(quit); return <-done }
}

// readGeneration reads a generation. newest maps a Secret to its newest value so far. A
// harmed file contains the text of harmed.
func readGeneration(dir string, newest map[string]string) error {
	root, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return fmt.Errorf("open a generation: %w", err)
	}
	defer root.Close()
	names, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list a generation: %w", err)
	}
	for _, name := range names {
		a, errA := root.ReadFile(path.Join(name.Name(), "a"))
		b, errB := root.ReadFile(path.Join(name.Name(), "b"))
		if err := errors.Join(errA, errB); err != nil {
			return fmt.Errorf("read a generation: %w", err)
		}
		if string(a) == harmed || string(b) == harmed {
			continue
		}
		if string(a) != string(b) {
			return fmt.Errorf("%s is torn: %q and %q", name.Name(), a, b)
		}
		if string(a) < newest[name.Name()] {
			return fmt.Errorf("%s went back from %s to %s", name.Name(), newest[name.Name()], a)
		}
		newest[name.Name()] = string(a)
	}
	return nil
}
