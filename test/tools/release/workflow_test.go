package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const repository = "../../.."

// TestWorkflows_pinnedWithMinimalPermissions checks that each action is pinned by its
// commit, and that a workflow grants permissions beyond reading only to a job.
func TestWorkflows_pinnedWithMinimalPermissions(t *testing.T) {
	files, err := filepath.Glob(repository + "/.github/workflows/*.yml")
	if err != nil || len(files) != 3 {
		t.Fatalf("got workflows %v, %v, want 3", files, err)
	}
	action := regexp.MustCompile(`uses: *(\S+)(.*)`)
	pinned := regexp.MustCompile(`^[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range action.FindAllStringSubmatch(string(text), -1) {
			if !pinned.MatchString(use[1] + use[2]) {
				t.Errorf("%s: %s is not pinned by commit, with its version in a comment", file, use[0])
			}
		}
		var workflow struct {
			Permissions map[string]string `json:"permissions"`
		}
		if err := yaml.Unmarshal(text, &workflow); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if workflow.Permissions == nil {
			t.Errorf("%s: permissions are not set, so the defaults of the repository apply", file)
		}
		for scope, access := range workflow.Permissions {
			if scope != "contents" || access != "read" {
				t.Errorf("%s: every job receives the permission %s: %s", file, scope, access)
			}
		}
	}
}

// A step is a step of a workflow.
type step struct {
	ID, Run, Uses string
	With          map[string]any
}

// steps returns the steps of all jobs of a workflow.
func steps(t *testing.T, file string) (all []step) {
	t.Helper()
	var workflow struct {
		Jobs map[string]struct{ Steps []step }
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/"+file)), &workflow); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, job := range workflow.Jobs {
		all = append(all, job.Steps...)
	}
	return all
}

// TestWorkflows_scripts: bash parses each script.
func TestWorkflows_scripts(t *testing.T) {
	for _, file := range []string{"ci.yml", "release.yml", "vulnerabilities.yml"} {
		for _, s := range steps(t, file) {
			cmd := exec.CommandContext(t.Context(), "bash", "-n")
			cmd.Stdin = strings.NewReader(s.Run)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s\n%s", file, err, out, s.Run)
			}
		}
	}
}

// TestRelease_provenance: the provenance covers the checksums of all files, and each artifact in the registry.
func TestRelease_provenance(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	digest := func(i int) string { return strings.Repeat(strconv.Itoa(i), 64) }
	names := []string{"secret-sync", "secret-sync", "secret-sync", "secret-sync", "secret-sync", "charts/secret-sync",
		"charts/app"}
	builder := "#!/bin/sh\n"
	for i, name := range names {
		builder += "echo registry.example/team/" + name + "@sha256:" + digest(i) + "\n"
	}
	if err := os.Mkdir(filepath.Join(dir, "release"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "release", "build"), []byte(builder), 0o755); err != nil {
		t.Fatal(err)
	}
	subjects := ""
	for _, s := range steps(t, "release.yml") {
		if s.ID == "build" {
			cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", s.Run)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "REGISTRY=registry.example/team", "RUNNER_TEMP="+temp,
				"GITHUB_REF_NAME=v1.2.3", "GITHUB_OUTPUT="+filepath.Join(temp, "output"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		if strings.HasPrefix(s.Uses, "actions/attest-build-provenance@") {
			subjects += fmt.Sprint(s.With["subject-digest"], " ", s.With["subject-checksums"], "\n")
		}
	}
	output, err := os.ReadFile(filepath.Join(temp, "output"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(output)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		subjects = strings.ReplaceAll(subjects, "${{ steps.build.outputs."+name+" }}", value)
	}
	parts, err := os.ReadFile(filepath.Join(temp, "parts"))
	if err != nil {
		t.Fatal(err)
	}
	subjects = strings.ReplaceAll(subjects, "${{ runner.temp }}/parts", string(parts))
	for i, name := range names {
		if !strings.Contains(subjects, digest(i)) {
			t.Errorf("no provenance covers the artifact %d, %s, in\n%s", i, name, subjects)
		}
	}
	if !strings.Contains(subjects, "dist/SHA256SUMS") {
		t.Errorf("no provenance covers the files:\n%s", subjects)
	}
}

// TestVulnerabilities_unreachableDatabase runs the check without access to its database. It
// must fail on GitHub, and only there.
func TestVulnerabilities_unreachableDatabase(t *testing.T) {
	// The modules are in the cache from here on, so only the database needs the proxy.
	command(t, repository, "go", "build", "-C", "test", "-o", t.TempDir(), "golang.org/x/vuln/cmd/govulncheck")
	for actions, fails := range map[string]bool{"true": true, "": false} {
		cmd := exec.CommandContext(t.Context(), repository+"/.ci/vulnerabilities")
		cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://127.0.0.1:1", "GITHUB_ACTIONS="+actions)
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails || !strings.Contains(string(out), "NOT CHECKED") {
			t.Errorf("GITHUB_ACTIONS=%s: got %v, want an error: %t\n%s", actions, err, fails, out)
		}
	}
}
