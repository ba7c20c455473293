// Command release builds the files of a release of secret-sync, see release/build:
//
//	secret-sync-linux-ARCH            the binary
//	secret-sync-linux-ARCH.cdx.json   its components, as a CycloneDX SBOM
//	image/                            the image for both architectures, an OCI layout
//	manifests/                        the examples, with the image and the version filled in
//	charts/                           the Helm charts
//	kubectl-secret_sync-OS-ARCH.tar.gz
//	                                  the kubectl plugin and the license
//	krew.yaml                         the manifest of the plugin for krew
//	SHA256SUMS                        the checksums of all these files
//
// The files do not depend on the time, the machine or the directory. Every date is the
// date of the commit. With -push, the command also pushes the image, the charts and the
// SBOMs to a registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// options describe the release.
type options struct {
	version   string // vMAJOR.MINOR.PATCH
	registry  string // the prefix of the image and the charts; empty in a trial
	source    string // the top directory of the repository
	revision  string // the commit
	created   time.Time
	out       string   // a missing or empty directory
	platforms []string // the platforms of the kubectl plugin
	fill      bool     // rewrite the examples of the repository, and build nothing
	push      bool     // push to the registry
}

var validVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	ctx := context.Background()
	o, err := parse(ctx, os.Args[1:])
	if err == nil {
		err = release(ctx, o)
	}
	if err == nil && o.push {
		err = push(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// parse reads the arguments. Without a version, it uses the tag of the commit.
func parse(ctx context.Context, args []string) (o options, err error) {
	o.platforms = platforms
	if o.source, err = build.RepositoryDir(ctx); err != nil {
		return o, err
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.version, args = args[0], args[1:]
	} else if o.version, err = o.git(ctx, "describe", "--tags", "--exact-match"); err != nil {
		return o, errors.New("the commit has no tag; add the version: release/build v1.2.3 [flags]")
	}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&o.out, "out", filepath.Join(o.source, "dist"), "the `folder` to build in")
	flags.StringVar(&o.registry, "registry", "", "the `registry` of the image and the charts in the manifests")
	pushTo := flags.String("push", "", "the `registry` to push to; includes -registry")
	flags.BoolVar(&o.fill, "fill", false,
		"set the image and the version in the examples of the repository, and build nothing")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *pushTo != "" {
		o.registry, o.push = *pushTo, true
	}
	return o, o.readCommit(ctx)
}

// image returns the name of the image without the tag.
func (o options) image() string { return path.Join(o.registry, "secret-sync") }

// git returns the output of a git command in the repository.
func (o options) git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", o.source}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s in %s: %w", args[0], o.source, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// readCommit sets the revision and the date. It returns an error if there are uncommitted
// changes, because they would be released under the name of the commit.
func (o *options) readCommit(ctx context.Context) error {
	changed, err := o.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("the working tree contains uncommitted changes:\n%s", changed)
	}
	commit, err := o.git(ctx, "log", "-1", "--format=%H %ct")
	if err != nil {
		return err
	}
	revision, date, _ := strings.Cut(commit, " ")
	seconds, err := strconv.ParseInt(date, 10, 64)
	o.revision, o.created = revision, time.Unix(seconds, 0).UTC()
	return err
}

// release builds all files. After an error the directory contains some of them, without
// checksums.
func release(ctx context.Context, o options) error {
	if !validVersion.MatchString(o.version) {
		return fmt.Errorf("%q is not a version; use a version such as v1.2.3 or v1.2.3-rc.1", o.version)
	}
	if o.fill {
		fmt.Println("set the image", o.image()+":"+o.version, "in", filepath.Join(o.source, "examples"))
		return writeManifests(o, filepath.Join(o.source, "examples"))
	}
	if entries, _ := os.ReadDir(o.out); len(entries) > 0 {
		return fmt.Errorf("%s is not empty; remove it or choose another directory with -out", o.out)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := writeManifests(o, filepath.Join(o.out, "manifests")); err != nil {
		return fmt.Errorf("copy the manifests: %w", err)
	}
	if err := writeCharts(o); err != nil {
		return err
	}
	if err := writeBinaries(ctx, o); err != nil {
		return err
	}
	if err := writeImage(o); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	if err := writePlugins(ctx, o); err != nil {
		return fmt.Errorf("package the kubectl plugin: %w", err)
	}
	if err := writeKrew(o); err != nil {
		return fmt.Errorf("write the manifest for krew: %w", err)
	}
	fmt.Fprintln(os.Stderr, "built", o.version, "of", o.revision, "in", o.out)
	return writeSums(o.out)
}

// writeBinaries builds the binary for each architecture and lists its components.
func writeBinaries(ctx context.Context, o options) error {
	for _, arch := range architectures {
		if err := build.Release(ctx, o.source, o.binary(arch), arch, o.version); err != nil {
			return err
		}
		if err := writeSBOM(o, arch); err != nil {
			return fmt.Errorf("list the components for %s: %w", arch, err)
		}
	}
	return nil
}

func (o options) binary(arch string) string {
	return filepath.Join(o.out, "secret-sync-linux-"+arch)
}
