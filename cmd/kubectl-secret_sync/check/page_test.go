package check

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"github.com/secret-sync/secret-sync/internal/kube"
)

// A section is a section of docs/troubleshooting.md. broken contains the documents of its YAML.
type section struct {
	title, anchor string
	broken        []string
}

var (
	heading     = regexp.MustCompile(`(?m)^###? (.*)\n`)
	punctuation = regexp.MustCompile(`[^a-z0-9 -]`)
)

func sections(t *testing.T) (all []section) {
	t.Helper()
	page := read(t, "../../../docs/troubleshooting.md")
	places := heading.FindAllStringSubmatchIndex(page, -1)
	for i, place := range places {
		end := len(page)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		s := section{title: page[place[2]:place[3]]}
		s.anchor = strings.ReplaceAll(punctuation.ReplaceAllString(strings.ToLower(s.title), ""), " ", "-")
		if _, rest, found := strings.Cut(page[place[1]:end], "```yaml\n"); found {
			text, _, _ := strings.Cut(rest, "```")
			s.broken = strings.Split(text, "---\n")
		}
		all = append(all, s)
	}
	return all
}

// readme returns the Pod of the README and its Role, each as a document.
func readme(t *testing.T) []string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, "../../../README.md"), "```yaml\n")
	pod, _, _ := strings.Cut(rest, "```")
	role := kube.RBAC{Namespace: "shop", ServiceAccount: "app", Names: []string{"db"}}
	return append([]string{pod}, strings.Split(role.YAML(), "---\n")...)
}

// patched applies the broken documents to the documents of the README: a Pod is a patch, and
// another object is a replacement or an addition.
func patched(t *testing.T, broken []string) string {
	t.Helper()
	documents := readme(t)
	for _, document := range broken {
		switch {
		case strings.HasPrefix(document, "kind: Pod\n"):
			documents[0] = patch(t, documents[0], document)
		case strings.Contains(document, "kind: Role\n"):
			documents[1] = document
		default:
			documents = append(documents, document)
		}
	}
	return strings.Join(documents, "\n---\n")
}

func patch(t *testing.T, pod, change string) string {
	t.Helper()
	original, err := yaml.YAMLToJSON([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := yaml.YAMLToJSON([]byte(change))
	if err != nil {
		t.Fatal(err)
	}
	result, err := strategicpatch.StrategicMergePatch(original, changes, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	return string(result)
}

// TestPage_goodPod: the Pod of the README has no finding.
func TestPage_goodPod(t *testing.T) {
	if r := inspect(t, patched(t, nil)); len(r.Findings) > 0 || r.Workloads != 1 {
		t.Error(show(t, r))
	}
}

// TestPage_brokenSpecs: check finds the mistake in each broken spec of the page, and links to the
// section.
func TestPage_brokenSpecs(t *testing.T) {
	for _, s := range sections(t) {
		if len(s.broken) == 0 {
			continue
		}
		t.Run(s.title, func(t *testing.T) {
			r := inspect(t, patched(t, s.broken))
			links := func(f Finding) bool { return f.Link == page+s.anchor }
			if !slices.ContainsFunc(r.Findings, links) {
				t.Errorf("no finding links to this section:\n%s", show(t, r))
			}
		})
	}
}

// TestPage_anchors: each rule has a section, and each section whose mistake is visible in files
// contains a broken spec.
func TestPage_anchors(t *testing.T) {
	all := sections(t)
	for rule, anchor := range anchors {
		i := slices.IndexFunc(all, func(s section) bool { return s.anchor == anchor })
		switch {
		case i < 0:
			t.Errorf("the page has no section #%s for the rule %s", anchor, rule)
		case len(all[i].broken) == 0 && rule != "secret": // only a cluster shows a missing Secret
			t.Errorf("the section %q contains no broken spec", all[i].title)
		}
	}
}
