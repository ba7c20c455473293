package generation

import (
	"maps"
	"slices"

	"github.com/secret-sync/secret-sync/internal/notification"
)

// ChangesSince returns the changes after a generation. If the generation is older than the record's history, or newer
// than the record because the volume was emptied, every path counts as changed.
func (r *Record) ChangesSince(generation uint64) notification.Changes {
	out := notification.Changes{Generation: r.Generation, Secrets: []string{}, Added: []string{}, Changed: []string{},
		Removed: []string{}}
	secrets, current := map[string]bool{}, r.Paths()
	known := generation >= r.Since && generation <= r.Generation
	for p, rec := range current {
		switch {
		case !known, rec.Added <= generation && rec.Changed > generation,
			rec.Added > generation && r.contained(p, generation):
			out.Changed = append(out.Changed, p)
		case rec.Added > generation:
			out.Added = append(out.Added, p)
		default:
			continue
		}
		secrets[rec.Secret] = true
	}
	for p, removals := range r.Removed {
		if _, back := current[p]; known && !back && r.contained(p, generation) {
			out.Removed = append(out.Removed, p)
			secrets[removals[len(removals)-1].Secret] = true
		}
	}
	delete(secrets, "") // unknown
	out.Secrets = slices.AppendSeq(out.Secrets, maps.Keys(secrets))
	for _, s := range [][]string{out.Secrets, out.Added, out.Changed, out.Removed} {
		slices.Sort(s)
	}
	return out
}

// contained reports whether a generation contained a path that was removed later.
func (r *Record) contained(p string, generation uint64) bool {
	return slices.ContainsFunc(r.Removed[p], func(removal PathRecord) bool {
		return removal.Added <= generation && generation < removal.Changed
	})
}
