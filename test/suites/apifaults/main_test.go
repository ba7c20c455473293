// Package apifaults has tests only: the real secret-sync binary and a real
// kube-apiserver, with all that can go wrong between the two, and with the
// servers themselves killed, restarted and restored from a backup. Each case
// looks at what the volume shows during the fault, and how long it takes to be
// right after it. The faults themselves are those of faultproxy.
package apifaults

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) {
	// Two tests at a time would take minutes.
	sidecartest.Main(m, sidecartest.Options{Parallel: 24})
}
