//go:build programs

package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	st "github.com/secret-sync/secret-sync/examples/internal/sidecartest"
)

// packages are Debian's, of all that the tests run.
const packages = "nginx-light haproxy postgresql-15 python3-minimal nodejs gcc libc6-dev"

// need finds a program in the first of these places, which may be patterns. A
// machine that lacks one fails the test: it would prove nothing.
func need(t *testing.T, places ...string) string {
	t.Helper()
	for _, place := range places {
		if found, _ := filepath.Glob(place); len(found) > 0 {
			return found[len(found)-1] // the newest version
		}
	}
	name := filepath.Base(places[0])
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends %s", name, packages)
	}
	return path
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var compiled = struct {
	sync.Mutex
	paths map[string]error
}{paths: map[string]error{}}

// compile builds testdata/NAME, once, and gives its path. It is beside the
// sidecar, in a folder that goes when the tests end.
func compile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(st.Binary()), name)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if _, err := os.Stat(testdata(t, name+".c")); err == nil {
		cmd = exec.Command(need(t, "gcc"), "-O1", "-o", path, testdata(t, name+".c"))
	}
	compiled.Lock()
	defer compiled.Unlock()
	if _, done := compiled.paths[name]; !done {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
		compiled.paths[name] = err
	}
	if err := compiled.paths[name]; err != nil {
		t.Fatal(err)
	}
	return path
}

// called gives a program another name, which its process then has.
func called(t *testing.T, program, name string) string {
	t.Helper()
	path := filepath.Join(st.Volume(t), name)
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	return path
}
