// Command release builds the files of a release of secret-sync, see release/build:
//
//	secret-sync-linux-ARCH            the binary
//	secret-sync-linux-ARCH.cdx.json   its components, as a CycloneDX SBOM
//	image/                            the image for both architectures, an OCI layout
//	manifests/                        the examples, with the image and the version filled in
//	SHA256SUMS                        the checksums of all these files
//
// The files do not depend on the time, the machine or the directory. Every date is the
// date of the commit.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/test/harness/build"
)

// architectures lists the architectures of the image.
var architectures = []string{"amd64", "arm64"}

// options describe the release.
type options struct {
	version  string // vMAJOR.MINOR.PATCH
	image    string // the name of the image in the manifests, without a tag
	source   string // the top directory of the repository
	revision string // the commit
	created  time.Time
	out      string // a missing or empty directory
	fill     bool   // rewrite the examples of the repository, and build nothing
}

var validVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	o, err := parse(context.Background(), os.Args[1:])
	if err == nil {
		err = release(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
	if o.fill {
		fmt.Println("set the image", o.image+":"+o.version, "in", filepath.Join(o.source, "examples"))
		return
	}
	fmt.Println("built", o.version, "of", o.revision, "in", o.out)
}

func parse(ctx context.Context, args []string) (o options, err error) {
	if len(args) == 0 {
		return o, errors.New("the version is missing; run release/build v1.2.3 [-out DIRECTORY] [-image NAME]")
	}
	o.version = args[0]
	if o.source, err = build.RepositoryDir(ctx); err != nil {
		return o, err
	}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&o.out, "out", filepath.Join(o.source, "dist"), "the `folder` to build in")
	flags.StringVar(&o.image, "image", "secret-sync", "the image's `name` in the manifests")
	flags.BoolVar(&o.fill, "fill", false,
		"set the image and the version in the examples of the repository, and build nothing")
	if err := flags.Parse(args[1:]); err != nil {
		return o, err
	}
	return o, o.readCommit(ctx)
}

// readCommit sets the revision and the date. It returns an error if there are uncommitted
// changes, because they would be released under the name of the commit.
func (o *options) readCommit(ctx context.Context) error {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", o.source}, args...)...).Output()
		if err != nil {
			return "", fmt.Errorf("git %s in %s: %w", args[0], o.source, err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("the working tree contains uncommitted changes:\n%s", changed)
	}
	commit, err := git("log", "-1", "--format=%H %ct")
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
		return writeManifests(o, filepath.Join(o.source, "examples"))
	}
	if entries, _ := os.ReadDir(o.out); len(entries) > 0 {
		return fmt.Errorf("%s is not empty; remove it or choose another directory with -out", o.out)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for _, arch := range architectures {
		if err := build.Release(ctx, o.source, o.binary(arch), arch, o.version); err != nil {
			return err
		}
		if err := writeSBOM(o, arch); err != nil {
			return fmt.Errorf("list the components for %s: %w", arch, err)
		}
	}
	if err := writeImage(o); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	if err := writeManifests(o, filepath.Join(o.out, "manifests")); err != nil {
		return fmt.Errorf("copy the manifests: %w", err)
	}
	return writeSums(o.out)
}

func (o options) binary(arch string) string {
	return filepath.Join(o.out, "secret-sync-linux-"+arch)
}

// writeSums writes a file for sha256sum -c, sorted by path.
func writeSums(dir string) error {
	var sums strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
