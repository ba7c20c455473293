package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
