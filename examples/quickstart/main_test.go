package main

import (
	"flag"
	"slices"
	"testing"
)

// TestHelpListsOnlyItsOwnFlags: the database's library registers flags of its
// own with flag.CommandLine, and -h listed them.
func TestHelpListsOnlyItsOwnFlags(t *testing.T) {
	var got []string
	newFlags(&options{}).VisitAll(func(f *flag.Flag) { got = append(got, f.Name) })
	want := []string{"dsn", "interval", "kubeconfig", "once", "rotations", "v", "workers"}
	if !slices.Equal(got, want) {
		t.Errorf("flags: got %q, want %q", got, want)
	}
}
