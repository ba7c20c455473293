package waitcommand

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secret-sync/secret-sync/internal/rollout"
)

// summary describes a success in a single line.
func summary(r rollout.Result) string {
	var versions, unnotified []string
	for _, v := range r.Versions {
		version := fmt.Sprintf("version %s of Secret %s/%s (uid %s)", v.ResourceVersion, v.Namespace, v.Secret, v.UID)
		versions = append(versions, version)
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

// missing lists each unfinished Pod with its reason. If a Pod cannot become done, it lists
// only such Pods.
func missing(r rollout.Result) (pods []string) {
	final := slices.ContainsFunc(r.Pods, func(p rollout.PodState) bool { return p.Final })
	for _, p := range r.Pods {
		if !p.Done && p.Final == final {
			pods = append(pods, p.Name+": "+p.Reason)
		}
	}
	return pods
}

// Line describes the state of a Wait in a single line.
func Line(r rollout.Result) string {
	waiting := missing(r)
	line := fmt.Sprintf("%d of %d Pods are done", len(r.Pods)-len(waiting), len(r.Pods))
	if len(waiting) > 0 {
		line += ": waiting for " + list(waiting)
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
