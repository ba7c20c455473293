package plan

import (
	"maps"
	"slices"
)

// Changes tells what differs between two generations, by the names of Secrets
// and the paths below the volume, sorted.
type Changes struct {
	Generation                       uint64
	Secrets, Added, Changed, Removed []string
}

// ChangesSince tells what changed after a generation. One from before what the
// record knows, or newer than it (the volume was emptied), gives all paths as
// changed. Of a nil record nothing changed.
func (r *Record) ChangesSince(generation uint64) Changes {
	out := Changes{Secrets: []string{}, Added: []string{}, Changed: []string{}, Removed: []string{}}
	if r == nil {
		return out
	}
	out.Generation = r.Generation
	secrets, there := map[string]bool{}, r.paths()
	known := generation >= r.Since && generation <= r.Generation
	for p, at := range there {
		switch {
		case !known, at.Added <= generation && at.Changed > generation, at.Added > generation && r.had(p, generation):
			out.Changed = append(out.Changed, p)
		case at.Added > generation:
			out.Added = append(out.Added, p)
		default:
			continue
		}
		secrets[at.Secret] = true
	}
	for p, times := range r.Removed {
		if _, back := there[p]; known && !back && r.had(p, generation) {
			out.Removed = append(out.Removed, p)
			secrets[times[len(times)-1].Secret] = true
		}
	}
	out.Secrets = slices.AppendSeq(out.Secrets, maps.Keys(secrets))
	for _, s := range [][]string{out.Secrets, out.Added, out.Changed, out.Removed} {
		slices.Sort(s)
	}
	return out
}

// had tells whether a path that was removed since was there in a generation.
func (r *Record) had(p string, generation uint64) bool {
	return slices.ContainsFunc(r.Removed[p], func(gone PathRecord) bool {
		return gone.Added <= generation && generation < gone.Changed
	})
}
