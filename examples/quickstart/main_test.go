package main

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

// TestHelpListsOnlyItsOwnFlags: the database's library registers flags of its
// own with flag.CommandLine, and -h listed them.
func TestHelpListsOnlyItsOwnFlags(t *testing.T) {
	var got []string
	newFlags(&options{}).VisitAll(func(f *flag.Flag) { got = append(got, f.Name) })
	want := []string{"app", "dsn", "interval", "kubeconfig", "once", "rotations", "v", "workers"}
	if !slices.Equal(got, want) {
		t.Errorf("flags: got %q, want %q", got, want)
	}
}

// TestAnAppThatIsNotInstalledSaysWhatToInstall, and its language is not looked for
// when another one is asked for.
func TestAnAppThatIsNotInstalledSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]string{"node": "apt-get install -y --no-install-recommends nodejs", "java": "default-jdk-headless"} {
		a, err := findApp(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.prepare(t.Context(), t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", name, err, want)
		}
	}
	if _, err := findApp("cobol"); err == nil || !strings.Contains(err.Error(), "go, python, node, java") {
		t.Errorf("cobol: got %v, want the languages that there are", err)
	}
}
