package rollout

import (
	"fmt"
	"strings"
)

// A Result is the state of a Wait.
type Result struct {
	Done     bool       `json:"done"`
	Versions []Version  `json:"versions"` // a version per namespace
	Pods     []PodState `json:"pods"`
	Problem  string     `json:"problem,omitempty"` // why no Pod can be done now
}

// A Version identifies a version of a Secret.
type Version struct {
	Namespace       string `json:"namespace"`
	Secret          string `json:"secret"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
}

// A PodState is the state of a counted Pod.
type PodState struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Done      bool   `json:"done"`
	Reason    string `json:"reason,omitempty"` // why it is not done
	// Final reports whether the Pod cannot become done.
	Final bool `json:"final,omitempty"`
	// Unnotified reports whether no sidecar of the Pod has a notification target.
	Unnotified bool `json:"unnotified,omitempty"`
}

// Summary describes a success in a single line.
func (r Result) Summary() string {
	var versions, unnotified []string
	for _, v := range r.Versions {
		versions = append(versions, fmt.Sprintf("version %s of Secret %s/%s (uid %s)", v.ResourceVersion, v.Namespace, v.Secret, v.UID))
	}
	for _, p := range r.Pods {
		if p.Unnotified {
			unnotified = append(unnotified, p.Name)
		}
	}
	text := fmt.Sprintf("all %d Pods are on %s", len(r.Pods), strings.Join(versions, ", "))
	if len(unnotified) > 0 {
		text += ": files in place, nobody was notified in " + list(unnotified)
	}
	return text
}

// Missing lists each unfinished Pod, a line per Pod. If a Pod cannot become done, it lists
// only such Pods.
func (r Result) Missing() string {
	var waiting, final strings.Builder
	for _, p := range r.Pods {
		line := fmt.Sprintf("\nPod %s: %s", p.Name, p.Reason)
		switch {
		case p.Final:
			final.WriteString(line)
		case !p.Done:
			waiting.WriteString(line)
		}
	}
	if final.Len() > 0 {
		return final.String()
	}
	if r.Problem != "" {
		return "\n" + r.Problem + waiting.String()
	}
	return waiting.String()
}

// Progress describes the state of a Wait in a single line.
func (r Result) Progress() string {
	var missing []string
	for _, p := range r.Pods {
		if !p.Done {
			missing = append(missing, fmt.Sprintf("%s (%s)", p.Name, p.Reason))
		}
	}
	line := fmt.Sprintf("%d of %d Pods are done", len(r.Pods)-len(missing), len(r.Pods))
	if len(missing) > 0 {
		line += ": waiting for " + list(missing)
	}
	if r.Problem != "" {
		line += "; " + r.Problem
	}
	return line
}

// list joins names, and counts the names after the third.
func list(names []string) string {
	const limit = 3
	text := strings.Join(names[:min(limit, len(names))], ", ")
	if more := len(names) - limit; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
