//go:build programs

package recipes

import (
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) {
	// Each test mostly waits: for transactions of 100 ms and for the start of an app.
	st.Main(m, st.Options{Parallel: 3, Alone: true})
}
