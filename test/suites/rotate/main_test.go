// Package rotate contains only tests. They run the program of examples/rotate as a process, against a real API server,
// an embedded database, and MariaDB and PostgreSQL. See run_test.go.
package rotate

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/build"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

func TestMain(m *testing.M) { st.Main(m, st.Options{}) }

// example is the directory of the program and its manifests.
const example = "../../../examples/rotate/"

// program builds the program and returns its path.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(st.Binary()), "rotate")
	return path, build.Example(context.Background(), "rotate", path)
})

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
