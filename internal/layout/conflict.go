package layout

import (
	"maps"
	"path"
	"slices"
)

// resolveConflicts rejects Secrets until no two Secrets of the flat layout use the same path,
// and no path is both a file and a directory. A Secret with the path in the volume keeps it.
// If the path is new, the first Secret by name gets it.
//
// A rejected Secret returns to its last good files. They conflict with no other files of
// their generation, except after a change from the nested layout: then the Secret is rejected
// again and loses all files. So the loop ends.
func (p *planner) resolveConflicts() {
	for p.rejectConflict() {
	}
}

// rejectConflict rejects a Secret that must give up a path, and reports whether there is such a
// Secret.
func (p *planner) rejectConflict() bool {
	owner := map[string]string{} // the Secret of each path
	for _, name := range slices.Sorted(maps.Keys(p.chosen)) {
		for _, file := range slices.Sorted(maps.Keys(p.chosen[name].Values)) {
			if other, taken := owner[file]; taken {
				p.decide(other, name, file, file)
				return true
			}
			owner[file] = name
		}
	}
	for _, file := range slices.Sorted(maps.Keys(owner)) {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if other, taken := owner[dir]; taken && other != owner[file] {
				p.decide(other, owner[file], dir, file)
				return true
			}
		}
	}
	return false
}

// decide rejects a or b: b, unless only the path of b is already in the volume.
func (p *planner) decide(a, b, fileA, fileB string) {
	_, hasA := p.Previous.Secrets[a].Values[fileA]
	_, hasB := p.Previous.Secrets[b].Values[fileB]
	if hasB && !hasA {
		a, b, fileB = b, a, fileA
	}
	p.reject(b, reject(ReasonConflict, "Secret %q already uses the path %q", a, fileB))
}
