package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestInterfaces_listed checks that docs/releases.md lists every annotation of the policy
// that is not a variable, and every value and template of the charts.
func TestInterfaces_listed(t *testing.T) {
	policy := read(t, "examples/inject/validate.yaml")
	var names []string
	for _, list := range regexp.MustCompile(`\['cpu-request'.*?\]|\['containers'.*?\]`).FindAllString(policy, -1) {
		for _, name := range regexp.MustCompile(`'([\w-]+)'`).FindAllStringSubmatch(list, -1) {
			names = append(names, "secret-sync/"+name[1])
		}
	}
	template := regexp.MustCompile(`define "(.+?)"`)
	for _, file := range []string{"_pod.tpl", "_role.tpl"} {
		for _, found := range template.FindAllStringSubmatch(read(t, "examples/helm/secret-sync/templates/"+file), -1) {
			names = append(names, found[1])
		}
	}
	for _, chart := range charts {
		names = slices.Concat(names, values(t, "examples/helm/"+chart+"/values.schema.json"))
	}
	if len(names) < 20 {
		t.Errorf("got only the names %v", names)
	}
	page := read(t, "docs/releases.md")
	for _, name := range names {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/releases.md does not list %s", name)
		}
	}
}

// values lists the values in the schema of a chart, except global, which is Helm's.
func values(t *testing.T, file string) (names []string) {
	t.Helper()
	type properties map[string]struct {
		Properties map[string]any `json:"properties"`
	}
	var schema struct {
		Properties properties `json:"properties"`
	}
	if err := json.Unmarshal([]byte(read(t, file)), &schema); err != nil {
		t.Fatal(err)
	}
	for name, value := range schema.Properties {
		for child := range value.Properties {
			names = append(names, name+"."+child)
		}
		if name != "global" && len(value.Properties) == 0 {
			names = append(names, name)
		}
	}
	return names
}

// read returns the text of a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(repository + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
