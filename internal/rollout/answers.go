package rollout

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// A probe is a sidecar, a container with secret-sync that runs as long as the Pod, and the state of its queries.
type probe struct {
	container string
	port      int
	// instance and volume are the names of the process and of the volume in its last answer.
	instance, volume string
	asking           bool
	next             time.Time // not to be asked before
	reason           string    // why it is not done, as of the last answer; "" if it is
	notWatching      bool      // as of the last answer
	targets          int
	filesAt          time.Time // of the first answer with the files in place
	// notifiedAt is the time of the first answer with all targets notified by the notifications of sent. If a signal
	// was among them, the probe is done after another such answer, a grace later.
	notifiedAt time.Time
	sent       string
}

// answer evaluates the document d of a sidecar, or the error of the query. It returns d if it is the answer of that
// sidecar, else nil. The sidecar is asked again after pause, unless it is done.
func (t *tally) answer(q query, d *status.Document, err error, now time.Time, pause time.Duration) *status.Document {
	p := q.probe
	p.asking, p.next, p.notWatching = false, now.Add(pause), false
	if err == nil {
		err = q.pod.identify(p, d)
	}
	if err != nil {
		p.reason = err.Error()
		return nil
	}
	up, watching := watchState(d, t.Secret)
	if p.notWatching, p.reason = !watching, ""; !watching {
		return d
	}
	if p.reason = t.filesMissing(d, up); p.reason != "" {
		p.filesAt = time.Time{}
		return d
	}
	p.filesAt = cmp.Or(p.filesAt, now)
	p.targets = len(d.Targets)
	p.reason = t.targetsMissing(p, d, now)
	return d
}

// identify returns an error unless d is the answer of the sidecar that was asked. Two Pods may share an address, two
// sidecars of a Pod may use the same port, and two containers may share a network.
func (c *pod) identify(p *probe, d *status.Document) error {
	switch {
	case d.PodUID == "":
		return errors.New("its sidecar does not know its Pod: set POD_NAME and POD_UID from the downward API")
	case d.PodUID != c.UID || d.Namespace != c.Namespace:
		return fmt.Errorf("another Pod answers at its address: %s/%s (uid %s)", d.Namespace, d.Pod, d.PodUID)
	case d.Instance == "", d.Volume == "":
		return errors.New("the answer of its sidecar does not identify the process and the volume")
	}
	for _, other := range c.probes {
		if other != p && (other.instance == d.Instance || other.volume == d.Volume) {
			return fmt.Errorf("the sidecar of container %s answers in its place: give both sidecars their own "+
				"SECRETSYNC_HTTP_ADDR and a container port named secret-sync", other.container)
		}
	}
	p.instance, p.volume = d.Instance, d.Volume
	return nil
}

// watchState reports whether the sidecar watches the Secret, as far as it knows, and whether its watch is connected.
// A selector lists a Secret only if it matches.
func watchState(d *status.Document, secret string) (up, watching bool) {
	_, listed := d.Secrets[secret]
	for _, w := range d.Watches {
		switch w.Name {
		case "secret/" + secret:
			return w.Up, true
		case "selector":
			up, watching = w.Up, listed || !w.Up
		}
	}
	return up, watching || listed
}

// filesMissing returns the reason why the files in the volume of the sidecar may be older than the version to wait
// for, "" if they are not. up reports whether its watch is connected.
func (t *tally) filesMissing(d *status.Document, up bool) string {
	s := d.Secrets[t.Secret]
	switch {
	case !up: // it may not know yet of a cluster restored from a backup
		return "the watch of its sidecar is down"
	case !s.Present:
		return "its sidecar sees no such Secret"
	case s.UID != t.history.last.uid:
		return "its sidecar has another Secret of that name: uid " + s.UID
	case !atMost(s.ResourceVersion, t.history.last.version): // newer than the last reading, or of a lost history
		return fmt.Sprintf("its sidecar has version %s, which the API server does not have", s.ResourceVersion)
	}
	switch t.history.learn(s); {
	case !atMost(t.history.version, s.ResourceVersion): // also if the version to wait for is not known yet
		return "its sidecar has version " + s.ResourceVersion
	case s.Refused != "":
		return "its sidecar rejects the Secret: " + s.Refused
	case s.Generation == 0 || !d.Complete:
		return "the files are not in the volume yet"
	}
	return ""
}

// targetsMissing returns the reason why a target of a sidecar with the files in place may not use them, "" if all do.
func (t *tally) targetsMissing(p *probe, d *status.Document, now time.Time) string {
	sent, signaled, missing := d.Instance, false, "" // sent changes with each notification and each restart
	for _, target := range d.Targets {
		// A number above the number of the volume is from before the volume was emptied.
		if target.Notified < d.Secrets[t.Secret].Generation || target.Notified > d.Generation {
			return strings.TrimSuffix(fmt.Sprintf("%s is not notified yet: %s", target.Name, target.Error), ": ")
		}
		sent += fmt.Sprint(" ", target.Successes)
		signaled = signaled || strings.HasPrefix(target.Name, "process") || strings.HasPrefix(target.Name, "pidfile")
		if target.Observing {
			missing = target.Name + " was signaled; not done before the process has survived the signal"
		}
	}
	if p.notifiedAt.IsZero() || p.sent != sent {
		p.notifiedAt, p.sent = now, sent
	}
	// The delivery of a signal does not show whether the app reloaded.
	if end := p.notifiedAt.Add(t.SignalGrace); signaled && now.Before(end) {
		p.next = end
		return fmt.Sprintf("its app was signaled; not done before the grace ends (--signal-grace %s)", t.SignalGrace)
	}
	return missing
}
