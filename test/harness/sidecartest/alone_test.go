package sidecartest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestWaitAlone: the lock is free for another suite when the first suite has released it, and not before.
func TestWaitAlone(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	release, err := waitAlone()
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(filepath.Join(cache, "secret-sync", "suite.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	try := func() error { return syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	if err := try(); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("beside the first suite: got %v, want EWOULDBLOCK", err)
	}
	release()
	if err := try(); err != nil {
		t.Errorf("after the first suite: %v", err)
	}
}
