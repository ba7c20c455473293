package layout

import (
	"fmt"
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
	for r := p.conflict(); r != nil; r = p.conflict() {
		p.reject(*r)
	}
}

// conflict returns the rejection of a Secret that must give up a path, or nil.
func (p *planner) conflict() *Rejection {
	owner := map[string]string{} // the Secret of each path
	for _, name := range slices.Sorted(maps.Keys(p.chosen)) {
		for _, file := range slices.Sorted(maps.Keys(p.chosen[name].Values)) {
			if other, taken := owner[file]; taken {
				return p.decide(other, name, file, file)
			}
			owner[file] = name
		}
	}
	for _, file := range slices.Sorted(maps.Keys(owner)) {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if other, taken := owner[dir]; taken && other != owner[file] {
				return p.decide(other, owner[file], dir, file)
			}
		}
	}
	return nil
}

// decide rejects a or b: b, unless only the path of b is already in the volume.
func (p *planner) decide(a, b, fileA, fileB string) *Rejection {
	_, hasA := p.in.Previous.Secrets[a].Values[fileA]
	_, hasB := p.in.Previous.Secrets[b].Values[fileB]
	if hasB && !hasA {
		a, b, fileB = b, a, fileA
	}
	detail := fmt.Sprintf("Secret %q already uses the path %q", a, fileB)
	return &Rejection{Secret: b, Reason: ReasonConflict, Detail: detail}
}
