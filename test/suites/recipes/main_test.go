//go:build programs

package recipes

import (
	"flag"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Each is mostly waiting: for transactions of 100 ms, and for an app to start.
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	st.Main(m)
}
