// Package longlife contains only tests. They run sidecars for minutes or hours while every
// kind of fault occurs. They check the invariants all the time. At the end they check for
// leaks: of memory, descriptors, goroutines, inotify watches or files.
package longlife

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

type files = map[string]string

func TestMain(m *testing.M) { sidecartest.Main(m, sidecartest.Options{}) }
