package check

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// A fakeCluster contains every Secret. It allows the listed verbs, as "verb resource name".
type fakeCluster struct{ allowed []string }

func (fakeCluster) SecretKeys(context.Context, string, string, bool) ([]string, bool, error) {
	return []string{"password"}, true, nil
}

func (f fakeCluster) Allowed(_ context.Context, _, _, verb, resource, name string) (bool, error) {
	all := strings.TrimSpace(verb + " " + resource)
	return slices.Contains(f.allowed, all) || slices.Contains(f.allowed, all+" "+name), nil
}

func (fakeCluster) Object(context.Context, string, string, string) (*Object, error) { return nil, nil }

// TestCheckExcess: a verb for the sidecar's own Secret is reported, and a verb for every Secret
// once.
func TestCheckExcess(t *testing.T) {
	for _, c := range []struct{ allowed, want string }{
		{"", ""},
		{"update secrets db", "may update the Secret db"},
		{"get secrets db,get secrets", "may get every Secret of the namespace"},
		{"get secrets,patch secrets db", "may get every Secret of the namespace|may patch the Secret db"},
		{"get secrets cache", ""},
	} {
		allowed := append(strings.Split(c.allowed, ","), "list secrets db", "watch secrets db", "create events")
		report, err := Run(t.Context(), Input{
			Objects: objects(t, read(t, "testdata/good.yaml")), Namespace: "shop", Cluster: fakeCluster{allowed},
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range report.Findings {
			if f.Rule == "role-too-wide" {
				_, text, _ := strings.Cut(f.Message, "app ")
				got = append(got, text)
			}
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: got %q, want %q", c.allowed, got, c.want)
		}
	}
}
