// Package build builds this repository's programs for the examples and tests.
package build

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

const module = "github.com/secret-sync/secret-sync"

// reproducible are the flags that make a binary independent of the directory.
var reproducible = []string{"-trimpath", "-buildvcs=false"}

// sidecarFlags are the flags of the Dockerfile, which explains them.
var sidecarFlags = []string{
	"-trimpath", "-buildvcs=false",
	"-gcflags", "all=-l", "-gcflags", "runtime=", "-gcflags", "internal/runtime/...=",
	"-gcflags", "encoding/json=", "-gcflags", "reflect=",
}

const linkerFlags = "-s -w"

// sidecarLinkerFlags are further linker flags of the Dockerfile, for amd64 and arm64.
const sidecarLinkerFlags = "-funcalign 8 -E main.entry"

// RepositoryDir returns the top directory of the repository. The current directory must
// be in the module examples or test.
func RepositoryDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		return "", fmt.Errorf("find the repository: no directory in %q", out)
	}
	return m.Dir, nil
}

// Sidecar builds secret-sync in dir and returns the path of the binary. Like the
// Dockerfile, it uses the dependencies of the root module.
func Sidecar(ctx context.Context, dir string) (string, error) {
	source, err := RepositoryDir(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "secret-sync")
	return path, Release(ctx, source, path, runtime.GOARCH, "")
}

// Release builds secret-sync from the directory source, like the Dockerfile with these
// build arguments.
func Release(ctx context.Context, source, path, arch, version string) error {
	linkerFlags := linkerFlags + " " + sidecarLinkerFlags + " -X main.version=" + version
	return run(ctx, source, path, ".", sidecarFlags, linkerFlags, "GOOS=linux", "GOARCH="+arch)
}

// Plugin builds the kubectl plugin from the directory source, for a platform such as
// "GOOS=darwin", "GOARCH=arm64".
func Plugin(ctx context.Context, source, path, version string, platform ...string) error {
	moduleDir := filepath.Join(source, "cmd", "kubectl-secret_sync")
	linkerFlags := linkerFlags + " -X main.version=" + version
	return run(ctx, moduleDir, path, ".", reproducible, linkerFlags, platform...)
}

// Package builds a package of the module in a directory of the repository at path, with
// the flags of the sidecar.
func Package(ctx context.Context, moduleDir, pkg, path string) error {
	source, err := RepositoryDir(ctx)
	if err != nil {
		return err
	}
	return run(ctx, filepath.Join(source, moduleDir), path, pkg, sidecarFlags, linkerFlags)
}

// Example builds the program in a folder of the examples at path, with the flags of the Dockerfiles there.
func Example(ctx context.Context, folder, path string) error {
	source, err := RepositoryDir(ctx)
	if err != nil {
		return err
	}
	return run(ctx, filepath.Join(source, "examples"), path, "./"+folder, reproducible, linkerFlags)
}

func run(ctx context.Context, source, out, pkg string, flags []string, linkerFlags string, env ...string) error {
	args := slices.Concat([]string{"build"}, flags, []string{"-ldflags", linkerFlags, "-o", out, pkg})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = source
	cmd.Env = slices.Concat(os.Environ(), []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="}, env)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", pkg, source, err, text)
	}
	return nil
}
