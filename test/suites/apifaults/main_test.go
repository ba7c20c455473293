// Package apifaults contains only tests. They run the real secret-sync binary with a real
// kube-apiserver, and every fault of package faultproxy between the two. They also kill and
// restart the servers and restore them from a backup. Each test checks the volume during
// the fault, and the time until the volume is correct after it.
package apifaults

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) {
	// Two tests at a time would take minutes.
	sidecartest.Main(m, sidecartest.Options{Parallel: 24})
}
