package rollout

import (
	"strconv"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/status"
	"github.com/secret-sync/secret-sync/watcher"
)

// A modelSidecar is a sidecar with its volume and its app.
type modelSidecar struct {
	instance int
	running  bool
	up       bool // its watch is connected

	have     known // by its watcher
	observed known // by its pipeline: the files in the volume have this data
	files    byte
	// generation is the number of the generation in the volume, notified the record.
	generation, notified uint64
	app                  byte // the data that the app uses
	pending              bool // a signal is pending: the app has not handled it
	successes            uint64
}

// A known is a version with its history.
type known struct {
	secretVersion
	since    int
	previous [2]int // the interval of other data
}

// after returns version v with the history that package watcher gives it, after an event or after a gap.
func (k known) after(v secretVersion, gap bool) known {
	previous, next := k.secret(), known{secretVersion: v}.secret()
	next = next.After(previous, gap)
	number := func(version string) int { n, _ := strconv.Atoi(version); return n }
	return known{v, number(next.DataSince), [2]int{number(next.PreviousData.Since), number(next.PreviousData.Until)}}
}

func (k known) secret() (s watcher.Secret) {
	if k.rv > 0 {
		s.UID, s.Data = "u", map[string]secret.Value{"password": {k.data}}
		s.ResourceVersion, s.DataSince = version(k.rv), version(k.since)
		s.PreviousData = status.Interval{Since: version(k.previous[0]), Until: version(k.previous[1])}
	}
	return s
}

// version returns the text of a version, "" for none.
func version(rv int) string {
	if rv == 0 {
		return ""
	}
	return strconv.Itoa(rv)
}

// event is the arrival of a watch event.
func (s *modelSidecar) event(v secretVersion) {
	s.have = s.have.after(v, false)
	s.observe()
}

// list is a consistent read, after which the watch is connected.
func (s *modelSidecar) list(v secretVersion) {
	s.up = true
	if v != s.have.secretVersion && v.rv <= s.have.rv { // a restored cluster: the files have no version of this history
		s.observed = known{}
	}
	s.have = s.have.after(v, true)
	s.observe()
}

// observe accepts a version for which no file has to change.
func (s *modelSidecar) observe() {
	if s.generation > 0 && s.have.data == s.files {
		s.observed = s.have
	}
}

func (s *modelSidecar) publish() {
	s.files, s.observed = s.have.data, s.have
	s.generation++
}

// notify notifies the app. A signal is handled later.
func (s *modelSidecar) notify(signal bool) {
	s.notified = s.generation
	s.successes++
	if s.pending = signal; !signal {
		s.app = s.files
	}
}

// start starts a process. It reads the Secret, and publishes the first generation of an
// empty volume.
func (s *modelSidecar) start(v secretVersion) {
	s.running, s.have, s.successes = true, known{}, 0
	s.instance++
	s.observed = known{secretVersion{s.observed.rv, s.files}, s.observed.rv, [2]int{}}
	s.list(v)
	if s.generation == 0 {
		s.publish()
		s.notified = max(s.notified, 1) // a higher record remains, see "empty volume"
	}
}
