package controlplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// serverNames are the commands of the module servers. etcd compiles faster, so it is first.
var serverNames = []string{"etcd", "kube-apiserver"}

// Build returns the directory with both servers. It builds them if this version is not
// in the cache yet. If another program builds them at the same time, Build waits for it.
func Build(ctx context.Context, progress io.Writer) (string, error) {
	repository, err := build.RepositoryDir(ctx)
	if err != nil {
		return "", err
	}
	source := filepath.Join(repository, "test", "servers", "controlplane", "servers")
	key, version, err := cacheKey(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory: %w", err)
	}
	dir := filepath.Join(cache, "secret-sync", "servers", key)
	if complete(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"), progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir) { // another program built it while this program waited
		return dir, nil
	}
	fmt.Fprintf(progress, "Building etcd and kube-apiserver %s from their Go modules, once, into\n%s\n"+
		"This takes some minutes the first time, and seconds from then on.\n", version, dir)
	for _, name := range serverNames {
		if err := buildServer(ctx, source, dir, name, version, progress); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func complete(dir string) bool {
	for _, name := range serverNames {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)`)

// cacheKey returns a name for everything that determines the binaries: the versions of
// all dependencies (go.sum lists them), the compiler and the platform.
func cacheKey(source string) (key, version string, err error) {
	gomod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return "", "", err
	}
	gosum, err := os.ReadFile(filepath.Join(source, "go.sum"))
	if err != nil {
		return "", "", err
	}
	found := kubernetesVersion.FindSubmatch(gomod)
	if found == nil {
		return "", "", fmt.Errorf("no version of k8s.io/kubernetes in %s/go.mod", source)
	}
	version = string(found[1])
	h := sha256.New()
	fmt.Fprintf(h, "%s %s/%s\n%s\n%s", runtime.Version(), runtime.GOOS, runtime.GOARCH, gomod, gosum)
	return fmt.Sprintf("%s-%x", version, h.Sum(nil)[:6]), version, nil
}

// lock locks path with flock. The kernel releases the lock if this process dies.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for reported := false; ; reported = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !reported {
			fmt.Fprintln(progress, "Another program is building etcd and kube-apiserver: waiting for it.")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// buildServer builds a server under a temporary name and renames it, so an
// interrupted build never looks complete.
func buildServer(ctx context.Context, source, dir, name, version string, progress io.Writer) error {
	part := filepath.Join(dir, name+".part")
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	const pkg = "k8s.io/component-base/version."
	ldflags := fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s",
		pkg, version, pkg, parts[0], pkg, parts[1])
	// -v prints each package when it is compiled. go build reports no other progress.
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-buildvcs=false",
		"-ldflags", ldflags, "-o", part, "./cmd/"+name)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go stops its compilers
	cmd.WaitDelay = 10 * time.Second
	t := startTicker(progress, name)
	var all bytes.Buffer
	cmd.Stderr = io.MultiWriter(t, &all)
	err := cmd.Run()
	t.stop(err)
	if err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", name, source, err, tail(all.String(), 20))
	}
	return os.Rename(part, filepath.Join(dir, name))
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
