package podtest

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// Need returns the first existing program of places, which may be patterns. If none exists,
// the test fails: skipping it would prove nothing.
func Need(t testing.TB, places ...string) string {
	t.Helper()
	for _, place := range places {
		if found, _ := filepath.Glob(place); len(found) > 0 {
			return found[len(found)-1] // the newest version
		}
	}
	name := filepath.Base(places[0])
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test requires %s: install the packages that CONTRIBUTING.md lists", name)
	}
	return path
}

// Testdata returns the path of a file in the testdata directory of the test.
func Testdata(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CompileGo builds the test's Go program testdata/NAME once and returns its path.
func CompileGo(t testing.TB, name string) string {
	t.Helper()
	return compile(t, name, func(path string) *exec.Cmd {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		return cmd
	})
}

// CompileC builds the test's C program testdata/NAME.c once and returns its path.
func CompileC(t testing.TB, name string) string {
	t.Helper()
	return compile(t, name, func(path string) *exec.Cmd {
		return exec.Command(Need(t, "gcc"), "-O1", "-o", path, Testdata(t, name+".c"))
	})
}

// Target returns the path of a C program. Its first argument selects its reaction to HUP.
func Target(t testing.TB) string { t.Helper(); return compileOwn(t, "target") }

//go:embed testdata/*.c
var sources embed.FS

// compileOwn builds a C program of this package, whose source is embedded.
func compileOwn(t testing.TB, name string) string {
	t.Helper()
	source, err := sources.ReadFile("testdata/" + name + ".c")
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, name, func(path string) *exec.Cmd {
		cmd := exec.Command(Need(t, "gcc"), "-O1", "-o", path, "-x", "c", "-")
		cmd.Stdin = bytes.NewReader(source)
		return cmd
	})
}

var compiled = struct {
	sync.Mutex
	paths map[string]error
}{paths: map[string]error{}}

// compile runs a compiler once per name and returns the path of the program. The program is
// beside the sidecar, in a directory that is removed after the tests.
func compile(t testing.TB, name string, compiler func(path string) *exec.Cmd) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(st.Binary()), name)
	cmd := compiler(path)
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

// Called copies a program to another name, which is then the name of its process.
func Called(t testing.TB, program, name string) string {
	t.Helper()
	path := filepath.Join(testsupport.MemoryDir(t), name)
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	return path
}
