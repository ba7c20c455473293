package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// settleConflicts refuses Secrets until no two of the flat layout want one path,
// or one a directory where the other has a file. Who has the path in the volume
// keeps it; of two newcomers, the first by name. A refused one is back at its
// last good files, which conflict with no others' of that generation: so each
// pass refuses one Secret for good, and there is an end.
func (p *planner) settleConflicts() {
	for {
		loser, detail := p.conflict()
		if loser == "" {
			return
		}
		if _, again := p.refused[loser]; again {
			delete(p.chosen, loser) // cannot be; never loop on it
			continue
		}
		p.refuse(Refusal{Secret: loser, Reason: ReasonConflict, Detail: detail})
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
	winner, path := a, fileB
	loser = b
	if !p.has(a, fileA) && p.has(b, fileB) {
		winner, loser, path = b, a, fileA
	}
	return loser, fmt.Sprintf("its path %q is taken by Secret %q", path, winner)
}

// has reports whether the Secret has the file in the volume.
func (p *planner) has(name, file string) bool {
	_, ok := p.in.Previous.Secrets[name].Content[file]
	return ok
}
