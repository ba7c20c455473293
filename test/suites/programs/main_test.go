//go:build programs

package programs

import (
	"flag"
	"testing"

	_ "github.com/cloudflare/tableflip" // of testdata/flip

	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

var update = flag.Bool("update", false, "write the measurements and docs/programs.md")

func TestMain(m *testing.M) { podtest.MainAlone(m, 12) }
