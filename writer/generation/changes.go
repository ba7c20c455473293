package generation

import (
	"maps"
	"slices"
)

// Changes are what differs between two generations, by the names of Secrets
// and the paths below the volume, sorted.
type Changes struct {
	Generation                       uint64
	Secrets, Added, Changed, Removed []string
}

// ChangesSince gives what changed after a generation. One from before what the
// record knows, or newer than it (the volume was emptied), gives all paths as
// changed.
func (r *Record) ChangesSince(generation uint64) Changes {
	out := Changes{Generation: r.Generation, Secrets: []string{}, Added: []string{}, Changed: []string{}, Removed: []string{}}
	secrets, there := map[string]bool{}, r.Paths()
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

// had reports whether a path that was removed since was there in a generation.
func (r *Record) had(p string, generation uint64) bool {
	return slices.ContainsFunc(r.Removed[p], func(gone PathRecord) bool {
		return gone.Added <= generation && generation < gone.Changed
	})
}

// SecretSince is the generation since which a Secret's files are as they are, 0 for a
// Secret that is not in the record. It is not too low where the record has
// forgotten something.
func (r *Record) SecretSince(name string) uint64 {
	s, ok := r.Secrets[name]
	if !ok {
		return 0
	}
	since := max(r.Since, 1)
	for _, at := range s.Files {
		since = max(since, at.Changed)
	}
	for _, times := range r.Removed {
		for _, gone := range times {
			if gone.Secret == name {
				since = max(since, gone.Changed)
			}
		}
	}
	return since
}
