//go:build programs

package quickstart

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
)

// TestApps_rotateWithoutAFailedQuery runs the quickstart with each app in another
// language than Go. .ci/run covers the app in Go.
func TestApps_rotateWithoutAFailedQuery(t *testing.T) {
	quickstart := filepath.Join(t.TempDir(), "quickstart")
	// The flags of `go run`: a run of CI then compiles the packages only once.
	build := exec.Command("go", "build", "-C", "../../../examples", "-o", quickstart, "./quickstart")
	build.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"python", "node", "java"} {
		t.Run(name, func(t *testing.T) { rotateTwice(t, quickstart, name) })
	}
}

func rotateTwice(t *testing.T, quickstart, name string) {
	log := &testsupport.Log{}
	cmd := exec.Command(quickstart, "-once", "-rotations", "2", "-interval", "300ms", "-app", name)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill) // in case the test is interrupted
	if code := p.ExitCode(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, log.Tail(40))
	}
	if !regexp.MustCompile(`(?m)^2 rotations, [1-9]\d* queries, 0 failed`).MatchString(log.String()) {
		t.Errorf("want 2 rotations without a failed query:\n%s", log.Tail(40))
	}
}
