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

// Servers are the paths of the programs of a control plane.
type Servers struct{ etcd, apiServer string }

// Build builds the servers that are not in the cache yet, and returns their paths. The
// empty version of kube-apiserver is the version of the module servers. For any other
// version, such as v1.34.4, only etcd is from this module. If another program builds the
// same servers at the same time, Build waits for it.
func Build(ctx context.Context, version string, progress io.Writer) (Servers, error) {
	repository, err := build.RepositoryDir(ctx)
	if err != nil {
		return Servers{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Servers{}, fmt.Errorf("find the user's cache directory: %w", err)
	}
	cache = filepath.Join(cache, "secret-sync", "servers")
	source := filepath.Join(repository, "test", "servers", "controlplane", "servers")
	var s Servers
	if s.etcd, err = buildOnce(ctx, source, cache, "etcd", progress); err != nil {
		return Servers{}, err
	}
	if version != "" {
		if source, err = otherVersion(ctx, source, cache, version, progress); err != nil {
			return Servers{}, err
		}
	}
	s.apiServer, err = buildOnce(ctx, source, cache, "kube-apiserver", progress)
	return s, err
}

// buildOnce returns the path of a command of the module in source. It builds the command
// unless the cache contains it.
func buildOnce(ctx context.Context, source, cache, name string, progress io.Writer) (string, error) {
	key, version, err := cacheKey(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	path := filepath.Join(dir, name)
	return path, once(ctx, path, dir, progress, func() error {
		fmt.Fprintf(progress, "Building %s from its Go module, once, into\n%s\n"+
			"This takes some minutes the first time, and seconds from then on.\n", name, dir)
		return buildServer(ctx, source, path, version, progress)
	})
}

// once calls create unless the path exists. Only a single program at a time creates files below
// the directory.
func once(ctx context.Context, path, dir string, progress io.Writer, create func() error) error {
	if exists(path) {
		return nil
	}
	unlock, err := lock(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer unlock()
	if exists(path) { // another program created it while this program waited
		return nil
	}
	return create()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^(?:require)?\s+k8s\.io/kubernetes (v\S+)`)

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

// lock creates dir and locks it with flock. The kernel releases the lock if this process
// dies.
func lock(ctx context.Context, dir string, progress io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
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
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		if !reported {
			fmt.Fprintln(progress, "Another program is building the servers: waiting for it.")
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
func buildServer(ctx context.Context, source, path, version string, progress io.Writer) error {
	part, name := path+".part", filepath.Base(path)
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
	return os.Rename(part, path)
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
