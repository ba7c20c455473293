// Package scale contains only tests. They run the real secret-sync binary at the scale that
// docs/configuration.md supports, and print the measurements of its section "Supported
// scale". They assert results and no durations, because the API server shares the machine.
package scale

import (
	"flag"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// The flags are for measurements on a quiet machine.
var (
	idleFor = flag.Duration("idle", 0, "how long to measure an idle sidecar with 20,000 files")
	rateFor = flag.Duration("rate", 20*time.Second, "how long to change Secrets 10,000 times a minute")
)

func TestMain(m *testing.M) { sidecartest.Main(m, sidecartest.Options{}) }
