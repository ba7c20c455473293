// Package longlife has tests only: sidecars that run for minutes, or hours, while all
// goes wrong that can. What must hold all the time is checked all the time, and in
// the end nothing is left behind: no memory, descriptors, goroutines, inotify watches
// or files.
package longlife

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

type files = map[string]string

func TestMain(m *testing.M) { sidecartest.Main(m, sidecartest.Options{}) }
