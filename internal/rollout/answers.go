package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secret-sync/secret-sync/internal/status"
)

// A probe is the state of the queries of a sidecar.
type probe struct {
	sidecar
	asking bool
	next   time.Time // not to be asked before

	reason  string // why it is not done, as of the last answer
	done    bool   // the app uses the version, as of the last answer
	targets int
	filesAt time.Time // of the first answer with the files in place
	// notifiedAt is the time of the first answer with all targets notified by the
	// notifications of sent. If a signal was among them, the probe is done after another such
	// answer, a grace later.
	notifiedAt time.Time
	sent       string
}

// answer evaluates the document d of a sidecar, or the error of the query. The sidecar is
// asked again after pause, unless it is done. answer returns an error if the wait can no
// longer succeed.
func (t *tally) answer(q query, d *status.Document, err error, now time.Time, pause time.Duration) error {
	c := t.pods[q.uid]
	if c == nil {
		return nil // the Pod is gone
	}
	p := c.probe(q.container)
	p.asking, p.next, p.done = false, now.Add(pause), false
	if err == nil {
		err = t.identify(c, p, d)
	}
	if err != nil {
		p.reason = err.Error()
		return nil
	}
	up, watching := watchState(d, t.Secret)
	if p.watches = watchesYes; !watching {
		p.watches, p.done = watchesNot, true
		return nil
	}
	p.reason, err = t.filesMissing(d, up)
	if p.reason != "" {
		p.filesAt, p.notifiedAt = time.Time{}, time.Time{}
		return err
	}
	if p.filesAt.IsZero() {
		p.filesAt = now
	}
	p.targets = len(d.Targets)
	t.checkTargets(p, d, now)
	return nil
}

// identify returns an error unless d is the answer of the sidecar that was asked. Two Pods
// may share an address, two sidecars of a Pod may use the same port, and two containers may
// share a network.
func (t *tally) identify(c *candidate, p *probe, d *status.Document) error {
	switch {
	case d.PodUID == "":
		return errors.New("its sidecar does not know its Pod: set POD_NAME and POD_UID from the downward API")
	case d.PodUID != c.uid || d.Namespace != c.namespace:
		return fmt.Errorf("another Pod answers at its address: %s/%s (uid %s)", d.Namespace, d.Pod, d.PodUID)
	case d.Instance == "", d.Volume == "" && d.Generation > 0:
		return errors.New("the answer of its sidecar does not identify the process and the volume")
	}
	owner := c.uid + "/" + p.container
	names := []string{"instance " + d.Instance}
	if d.Volume != "" {
		names = append(names, "volume "+c.uid+"/"+d.Volume)
	}
	for _, name := range names {
		if other := t.owners[name]; other != "" && other != owner {
			_, container, _ := strings.Cut(other, "/")
			return fmt.Errorf("the sidecar of container %s answers in its place: give both sidecars their own "+
				"SECRETSYNC_HTTP_ADDR and a container port named secret-sync", container)
		}
	}
	for _, name := range names {
		t.owners[name] = owner
	}
	return nil
}

// watchState reports whether the sidecar watches the Secret, as far as it knows, and whether
// its watch is connected. A selector lists a Secret only if it matches.
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

// filesMissing returns the reason why the files in the volume of the sidecar may be older
// than the version to wait for, "" if they are not. up reports whether its watch is
// connected. After an error, the wait can no longer succeed.
func (t *tally) filesMissing(d *status.Document, up bool) (reason string, err error) {
	s := d.Secrets[t.Secret]
	switch {
	case !up: // it may not know yet of a cluster restored from a backup
		return "the watch of its sidecar is down", nil
	case !s.Present:
		return "its sidecar sees no such Secret", nil
	case s.UID != t.history.last.uid:
		return "its sidecar has another Secret of that name: uid " + s.UID, nil
	case !t.history.exists(s.ResourceVersion):
		t.outdated = true
		return fmt.Sprintf("its sidecar has version %s, which the API server does not have", s.ResourceVersion), nil
	}
	if err := t.history.learn(s); err != nil {
		return err.Error(), err
	}
	reason = t.history.missing(s)
	switch {
	case reason != "":
	case s.Refused != "":
		reason = "its sidecar refuses the Secret: " + s.Refused
	case s.Generation == 0 || !d.Complete:
		reason = "the files are not in the volume yet"
	}
	return reason, nil
}

// checkTargets evaluates the targets of a sidecar with the files in place.
func (t *tally) checkTargets(p *probe, d *status.Document, now time.Time) {
	for _, target := range d.Targets {
		// A number above the number of the volume is from before the volume was emptied.
		if target.Notified < d.Secrets[t.Secret].Generation || target.Notified > d.Generation {
			p.reason = strings.TrimSuffix(fmt.Sprintf("%s is not notified yet: %s", target.Name, target.Error), ": ")
			return
		}
	}
	if sent := notifications(d); p.notifiedAt.IsZero() || p.sent != sent {
		p.notifiedAt, p.sent = now, sent
	}
	if end := p.notifiedAt.Add(t.SignalGrace); signaled(d) && now.Before(end) {
		p.next = end
		p.reason = fmt.Sprintf("its app was signaled less than %s ago (--signal-grace)", t.SignalGrace)
		return
	}
	p.done = true
}

// notifications returns a text about the notifications by the sidecar. It changes with each
// notification and with each restart.
func notifications(d *status.Document) string {
	text := d.Instance
	for _, target := range d.Targets {
		text += fmt.Sprint(" ", target.Successes)
	}
	return text
}

// signaled reports whether a target is notified by a signal. Its delivery does not show
// whether the app reloaded.
func signaled(d *status.Document) bool {
	return slices.ContainsFunc(d.Targets, func(t status.Target) bool {
		kind, _, _ := strings.Cut(t.Name, "/")
		return kind == "process" || kind == "pidfile"
	})
}
