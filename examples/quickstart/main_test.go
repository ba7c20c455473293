package main

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

// TestFlags_areItsOwn checks the flags in the output of -h. The library of the database
// registers flags with flag.CommandLine, and -h once listed them too.
func TestFlags_areItsOwn(t *testing.T) {
	var got []string
	newFlags(&options{}).VisitAll(func(f *flag.Flag) { got = append(got, f.Name) })
	want := []string{"app", "dsn", "interval", "kubeconfig", "once", "rotations", "v", "workers"}
	if !slices.Equal(got, want) {
		t.Errorf("flags: got %q, want %q", got, want)
	}
}

// TestApps_missingLanguage checks two errors: for a language without an installation, with
// the Debian packages to install, and for an unknown language, with the known languages.
func TestApps_missingLanguage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]string{
		"node": "apt-get install -y --no-install-recommends nodejs",
		"java": "default-jdk-headless",
	} {
		a, err := findApp(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.prepare(t.Context(), t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", name, err, want)
		}
	}
	if _, err := findApp("cobol"); err == nil || !strings.Contains(err.Error(), "go, python, node, java") {
		t.Errorf("cobol: got %v, want a list of the known languages", err)
	}
}
