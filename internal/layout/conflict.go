package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// settleConflicts refuses Secrets until no two of the flat layout want one path,
// or one a directory where the other has a file. Who has the path in the volume
// keeps it; of two newcomers, the first by name.
//
// A refused one is back at its last good files. These conflict with no others of
// that generation, unless its layout was nested: whoever has to yield once more
// has no files, so that there is an end.
func (p *planner) settleConflicts() {
	for loser, detail := p.conflict(); loser != ""; loser, detail = p.conflict() {
		p.refuse(loser, ReasonConflict, detail)
	}
}

// conflict gives a Secret that has to yield, and why; "" for none.
func (p *planner) conflict() (loser, detail string) {
	owner := map[string]string{} // path → Secret
	for _, name := range slices.Sorted(maps.Keys(p.chosen)) {
		for _, file := range slices.Sorted(maps.Keys(p.chosen[name].Content)) {
			if other, taken := owner[file]; taken {
				return p.yield(other, name, file, file)
			}
			owner[file] = name
		}
	}
	for _, file := range slices.Sorted(maps.Keys(owner)) {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			if other, taken := owner[dir]; taken && other != owner[file] {
				return p.yield(other, owner[file], dir, file)
			}
		}
	}
	return "", ""
}

// yield says which of two Secrets yields, a being the first by name or the one
// that has the shorter path.
func (p *planner) yield(a, b, fileA, fileB string) (loser, detail string) {
	_, hasA := p.in.Previous.Secrets[a].Content[fileA]
	_, hasB := p.in.Previous.Secrets[b].Content[fileB]
	if hasB && !hasA {
		a, b, fileB = b, a, fileA
	}
	return b, fmt.Sprintf("its path %q is taken by Secret %q", fileB, a)
}
