//go:build programs

package troubleshooting

import (
	"os"
	"slices"
	"strings"
	"testing"

	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

const page = "../../../docs/troubleshooting.md"

// TestPage_quotesOutput: the page has exactly one section per symptom, and quotes the output
// of the program literally.
func TestPage_quotesOutput(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	quoted := quotes(string(text))
	for _, s := range symptoms {
		t.Run(s.title, func(t *testing.T) {
			want, ok := quoted[s.title]
			if !ok {
				t.Fatalf("the page has no section with this title and a block that starts with %q", fence)
			}
			t.Parallel()
			if s.users && !st.RealRoot() {
				t.Skip("needs root, for other users")
			}
			got := s.says(t)
			switch {
			case got == want:
			case *update:
				replace(t, s.title, got)
			default:
				t.Errorf("the program prints\n%s\nthe page contains\n%s\n(-update changes the page)", got, want)
			}
		})
	}
	for title := range quoted {
		if !slices.ContainsFunc(symptoms, func(s symptom) bool { return s.title == title }) {
			t.Errorf("the section %q of the page belongs to no symptom", title)
		}
	}
}

const fence = "```text\n"

// quotes returns the first block of each section of a page, by title. A section without a block
// describes mistakes that only the spec shows.
func quotes(page string) map[string]string {
	all := map[string]string{}
	for _, section := range strings.Split(page, "\n## ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		if _, block, found := strings.Cut(rest, fence); found {
			all[title], _, _ = strings.Cut(block, "```")
		}
	}
	return all
}

// replace writes the output of the program to the page.
func replace(t *testing.T, title, block string) {
	t.Helper()
	writing.Lock()
	defer writing.Unlock()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(text), "\n## "+title+"\n")
	prose, after, ok := strings.Cut(after, fence)
	_, after, closed := strings.Cut(after, "```")
	if !ok || !closed || strings.Contains(prose, "\n## ") {
		t.Fatalf("section %q has no block", title)
	}
	whole := before + "\n## " + title + "\n" + prose + fence + block + "```" + after
	if err := os.WriteFile(page, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
}
