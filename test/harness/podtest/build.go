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

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// packages are Debian's, of all that the tests of this kind run.
const packages = "nginx-light haproxy postgresql-15 python3-minimal nodejs gcc libc6-dev"

// Need finds a program in the first of these places, which may be patterns. A
// machine that lacks one fails the test: it would prove nothing.
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
		t.Fatalf("this test needs %s: apt-get install -y --no-install-recommends %s", name, packages)
	}
	return path
}

// Testdata is the path of a file of the tests' own.
func Testdata(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CompileGo builds the Go program testdata/NAME of the tests, once, and gives its path.
func CompileGo(t testing.TB, name string) string {
	t.Helper()
	return compile(t, name, func(path string) *exec.Cmd {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		return cmd
	})
}

// CompileC builds testdata/NAME.c of the tests, once, and gives its path.
func CompileC(t testing.TB, name string) string {
	t.Helper()
	return compile(t, name, func(path string) *exec.Cmd {
		return exec.Command(Need(t, "gcc"), "-O1", "-o", path, Testdata(t, name+".c"))
	})
}

// Target is the path of a C program that does with HUP what its first argument says.
func Target(t testing.TB) string { t.Helper(); return compileOwn(t, "target") }

//go:embed testdata/*.c
var sources embed.FS

// compileOwn builds a C program of this package, which may be far from the tests'.
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

// compile runs a compiler, once for each name, and gives the program's path. It is
// beside the sidecar, in a folder that goes when the tests end.
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

// Called gives a program another name, which its process then has.
func Called(t testing.TB, program, name string) string {
	t.Helper()
	path := filepath.Join(st.Volume(t), name)
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	return path
}
