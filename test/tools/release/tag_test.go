package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/build"
	"github.com/secret-sync/secret-sync/test/harness/kustomize"
)

// TestTag_kustomizeUsesTheImage tags a copy of the repository. A kustomization that is
// referenced by the tag must use the image of the tag, and the branch must not change.
func TestTag_kustomizeUsesTheImage(t *testing.T) {
	repo := copyRepository(t)
	before := command(t, repo, "git", "rev-parse", "main")
	command(t, repo, "release/tag", "v1.2.3", "-registry", "registry.example/team")
	if after := command(t, repo, "git", "rev-parse", "HEAD"); after != before {
		t.Errorf("the branch moved from %s to %s", before, after)
	}
	const image = "registry.example/team/secret-sync:v1.2.3"
	for _, dir := range []string{"inject", "component/example", "cases/signal"} {
		manifest, err := kustomize.Render("file://" + repo + "//examples/" + dir + "?ref=v1.2.3")
		if err != nil || !strings.Contains(string(manifest), image) {
			t.Errorf("%s: got %v, want a manifest with the image %s\n%s", dir, err, image, manifest)
		}
		if strings.Contains(string(manifest), "secret-sync:latest") {
			t.Errorf("%s: the manifest at the tag contains secret-sync:latest", dir)
		}
	}
	t.Run("a build with another registry", func(t *testing.T) {
		command(t, repo, "git", "checkout", "--quiet", "v1.2.3")
		cmd := exec.CommandContext(t.Context(), "release/build", "-registry", "other.example", "-out", t.TempDir())
		cmd.Dir = repo
		out, err := cmd.CombinedOutput()
		const want = "does not contain the image other.example/secret-sync:v1.2.3"
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("got %v, %s, want an error: %s", err, out, want)
		}
	})
}

// copyRepository returns a new repository with a commit of this repository's files,
// including uncommitted changes.
func copyRepository(t *testing.T) string {
	t.Helper()
	source, err := build.RepositoryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "test")
		t.Setenv("GIT_"+who+"_EMAIL", "test@example.com")
	}
	repo := filepath.Join(t.TempDir(), "repo")
	command(t, source, "git", "init", "--quiet", "--initial-branch=main", repo)
	git := []string{"--git-dir=" + filepath.Join(repo, ".git"), "--work-tree=" + source}
	command(t, source, "git", append(git, "add", "--all")...)
	command(t, source, "git", append(git, "commit", "--quiet", "--message=Copy")...)
	command(t, repo, "git", "reset", "--quiet", "--hard")
	return repo
}

// command runs a program in a directory and returns its output.
func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return strings.TrimSpace(string(out))
}
