package rollout

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/status"
)

// A reading is a quorum read of the Secret.
type reading struct {
	uid, version string
	data         uint64    // a hash of the data, which nothing outside this process can compute
	changed      time.Time // an upper bound for the last change, zero if none is known
	first        string    // the version of the first reading with this data
}

// A history collects the facts about the versions of a Secret. It decides whether the version of a sidecar contains
// the data to wait for.
//
// The facts have two sources. Readings by the wait show the data of single versions. Sidecars with a watch without a
// gap prove the data unchanged over an interval of versions. Overlapping intervals form a single interval of equal
// data.
type history struct {
	version     string // to wait for, "" while changedFrom decides
	proven      string // the data provably did not change from version until proven
	changedFrom string
	last        reading
	ended       error // why the wait can no longer succeed
}

func (h *history) read(r reading) {
	last := h.last
	r.first = r.version
	h.last = r
	switch {
	case last.version == "":
		named := cmp.Or(h.version, h.changedFrom)
		if h.changedFrom == "" {
			h.waitFor(cmp.Or(named, r.version))
		}
		if named != "" && !atMost(named, r.version) {
			h.end("version %s does not exist: the newest version is %s; a higher version belongs to another Secret, "+
				"or the cluster was restored from a backup", named, r.version)
		}
	case r.uid != last.uid:
		h.end("it was deleted and created again (uid %s, then %s)", last.uid, r.uid)
	case !atMost(last.version, r.version):
		h.end("it went back from version %s to %s: the cluster was restored from a backup", last.version, r.version)
	case r.data == last.data:
		h.last.first, h.last.changed = last.first, last.changed
	case h.version != "":
		h.end("its data changed after version %s", h.version)
	case last.first == h.changedFrom:
		h.waitFor(r.version)
	}
}

func (h *history) end(format string, args ...any) { h.ended = fmt.Errorf(format, args...) }

func (h *history) waitFor(version string) { h.version, h.proven = version, version }

// learn adds the facts of a sidecar whose version exists.
func (h *history) learn(s status.Secret) {
	previous := s.PreviousData // other data, and then the data of s
	if h.version == "" && s.ResourceVersion == h.last.version &&
		atMost(previous.Since, h.changedFrom) && atMost(h.changedFrom, previous.Until) {
		h.waitFor(h.last.version)
	}
	switch {
	case h.version == "":
	case atMost(h.version, previous.Until):
		h.end("its data changed after version %s", h.version)
	case atMost(s.DataSince, h.proven) && atMost(h.proven, s.ResourceVersion):
		h.proven = s.ResourceVersion
	}
}

// problem returns the reason why the history alone prevents success, "" if the data provably did not change from the
// version until the newest reading.
func (h *history) problem() string {
	switch {
	case h.last.version == "":
		return "the Secret was not read yet"
	case h.version == "":
		return fmt.Sprintf("the data of the Secret is not known to differ from version %s", h.changedFrom)
	case h.ended != nil || !atMost(h.last.version, h.proven):
		return fmt.Sprintf("no sidecar knows whether the data changed from version %s to %s", h.version, h.last.version)
	}
	return ""
}

// atMost reports whether version a is known to be at most b. Nothing is known of an invalid version.
func atMost(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order <= 0
}
