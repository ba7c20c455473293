package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	releasedModule  = regexp.MustCompile(`(?m)^module .*$`)
	releasedStaging = regexp.MustCompile(`(?m)^(\s*(?:replace )?)(k8s\.io/\S+) => \./staging/src/\S+$`)
	releasedVersion = regexp.MustCompile(`^v1\.\d+\.\d+$`)
)

// otherVersion returns a directory in the cache with a module that builds another version
// of kube-apiserver. Its go.mod is the go.mod of the release, so each dependency has the
// version of the release.
func otherVersion(ctx context.Context, source, cache, version string, progress io.Writer) (string, error) {
	dir := filepath.Join(cache, "module-"+version)
	return dir, once(ctx, dir, cache, progress, func() error {
		fmt.Fprintf(progress, "Downloading the modules of kube-apiserver %s.\n", version)
		part := dir + ".part"
		if err := writeModule(ctx, source, part, version); err != nil {
			return fmt.Errorf("create the module of kube-apiserver %s: %w", version, err)
		}
		return os.Rename(part, dir)
	})
}

// writeModule writes a module that builds the released version with the command in source.
func writeModule(ctx context.Context, source, dir, version string) error {
	if !releasedVersion.MatchString(version) {
		return fmt.Errorf("invalid version %q: must be like v1.34.4", version)
	}
	if err := os.RemoveAll(dir); err != nil { // an interrupted run
		return err
	}
	command := filepath.Join("cmd", "kube-apiserver")
	if err := os.CopyFS(filepath.Join(dir, command), os.DirFS(filepath.Join(source, command))); err != nil {
		return err
	}
	out, err := goCommand(ctx, dir, "mod", "download", "-json", "k8s.io/kubernetes@"+version)
	if err != nil {
		return err
	}
	var module struct{ GoMod string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	gomod, err := os.ReadFile(module.GoMod)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), dependentGoMod(gomod, version), 0o644); err != nil {
		return err
	}
	_, err = goCommand(ctx, dir, "list", "-mod=mod", "-deps", "./cmd/kube-apiserver") // writes go.sum
	return err
}

// dependentGoMod returns the go.mod of a release with two changes: it requires the released
// module itself, and the modules in the staging directory at their released versions.
func dependentGoMod(gomod []byte, version string) []byte {
	staging := "${1}$2 => $2 v0" + strings.TrimPrefix(version, "v1")
	gomod = releasedModule.ReplaceAll(gomod, []byte("module servers"))
	gomod = releasedStaging.ReplaceAll(gomod, []byte(staging))
	return append(gomod, "\nrequire k8s.io/kubernetes "+version+"\n"...)
}

// goCommand runs go in dir and returns its standard output.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, tail(failure.String(), 20))
	}
	return out, nil
}
