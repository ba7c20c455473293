package rollout

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/status"
)

// A reading is a quorum read of the Secret.
type reading struct {
	uid, version string
	data         fingerprint
	changed      time.Time // an upper bound for the last change, zero if none is known
}

// A fingerprint is equal for equal data. Nothing outside this process can compute it.
type fingerprint [32]byte

// A history collects the facts about the versions of a Secret. It decides whether the version
// of a sidecar contains the data to wait for.
//
// The facts have two sources. Readings by the wait show the data of single versions. Sidecars
// with a watch without a gap prove the data unchanged over an interval of versions. Two
// overlapping intervals form a single interval of equal data.
type history struct {
	// version is the version to wait for, "" while changedFrom decides.
	version     string
	changedFrom string
	base, last  reading         // the first reading of the data to wait for, and the newest
	proven      status.Interval // versions with the data of version
}

// read adds a reading. It returns an error if the wait can no longer succeed.
func (h *history) read(r reading) error {
	first := h.last.version == ""
	if first {
		h.base, h.last = r, r
		return h.begin()
	}
	switch {
	case r.uid != h.last.uid:
		return fmt.Errorf("it was deleted and created again (uid %s, then %s)", h.last.uid, r.uid)
	case !atMost(h.last.version, r.version):
		return fmt.Errorf("it went back from version %s to %s: the cluster was restored "+
			"from a backup", h.last.version, r.version)
	}
	h.last = r
	switch {
	case r.data == h.base.data:
		return nil
	case h.version != "":
		return fmt.Errorf("its data changed after version %s", h.version)
	case h.base.version == h.changedFrom:
		h.waitFor(r)
	}
	h.base = r
	return nil
}

// begin checks the first reading against the version that the user named.
func (h *history) begin() error {
	for _, named := range []string{h.version, h.changedFrom} {
		if named != "" && !atMost(named, h.base.version) {
			return fmt.Errorf("version %s does not exist: the newest version is %s; a higher version belongs to another "+
				"Secret, or the cluster was restored from a backup", named, h.base.version)
		}
	}
	if h.version == "" && h.changedFrom == "" {
		h.version = h.base.version
	}
	h.proven = status.Interval{Since: h.version, Until: h.version}
	return nil
}

// waitFor sets the version to wait for: the newest reading.
func (h *history) waitFor(r reading) {
	h.version, h.base = r.version, r
	h.proven = status.Interval{Since: r.version, Until: r.version}
}

// exists reports whether version is not above the newest reading. A higher version is either
// too new for that reading, or part of a history lost in a restore of the cluster from a
// backup.
func (h *history) exists(version string) bool { return atMost(version, h.last.version) }

// learn adds the facts of a sidecar whose version exists. It returns an error if the wait
// can no longer succeed.
func (h *history) learn(s status.Secret) error {
	previous, now := s.PreviousData, status.Interval{Since: s.DataSince, Until: s.ResourceVersion}
	if h.version == "" && s.ResourceVersion == h.last.version && contains(previous, h.changedFrom) {
		h.waitFor(h.last)
	}
	if h.version == "" {
		return nil
	}
	if atMost(h.version, previous.Until) { // other data, and then the data of now
		return fmt.Errorf("its data changed after version %s", h.version)
	}
	if overlap(now, h.proven) {
		if atMost(now.Since, h.proven.Since) {
			h.proven.Since = now.Since
		}
		if atMost(h.proven.Until, now.Until) {
			h.proven.Until = now.Until
		}
	}
	return nil
}

// missing returns the reason why a sidecar does not use the data of the version, "" if it
// does, provided that the data has not changed since (see unchanged).
func (h *history) missing(s status.Secret) string {
	switch {
	case h.version == "":
		return h.problem()
	case !atMost(h.proven.Since, s.ResourceVersion):
		return "its sidecar has version " + s.ResourceVersion
	}
	return ""
}

// unchanged reports whether the data provably did not change from the version until the
// newest reading.
func (h *history) unchanged() bool {
	return h.version != "" && h.last.version != "" && atMost(h.last.version, h.proven.Until)
}

// problem returns the reason why the history alone prevents success, "" for none.
func (h *history) problem() string {
	switch {
	case h.last.version == "":
		return "the Secret was not read yet"
	case h.version == "":
		return fmt.Sprintf("the data of the Secret is not known to differ from version %s", h.changedFrom)
	case !h.unchanged():
		return fmt.Sprintf("no sidecar knows whether the data changed from version %s to %s", h.version, h.last.version)
	}
	return ""
}

// overlap reports whether a version can be in both intervals.
func overlap(a, b status.Interval) bool { return atMost(a.Since, b.Until) && atMost(b.Since, a.Until) }

func contains(i status.Interval, version string) bool {
	return atMost(i.Since, version) && atMost(version, i.Until)
}

// atMost reports whether version a is known to be at most b. It returns false if the versions
// cannot be compared.
func atMost(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order <= 0
}

// ValidVersion reports whether version can be a resourceVersion.
func ValidVersion(version string) bool { return atMost(version, version) }
