package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteText writes the document as tables. It computes ages relative to now.
func (d *Document) WriteText(out io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
	row("generation %d, %s", d.Generation, either(d.Complete, "complete", "not complete"))
	row("\nSECRET\tSTATE\tVERSION\tGENERATION\tUID")
	for _, name := range slices.Sorted(maps.Keys(d.Secrets)) {
		s := d.Secrets[name]
		row("%s\t%s\t%s\t%d\t%s", name, s.state(), s.ResourceVersion, s.Generation, s.UID)
	}
	if len(d.Targets) > 0 {
		row("\nTARGET\tSTATE\tNOTIFIED\tFAILURES\tERROR")
	}
	for _, g := range d.Targets {
		row("%s\t%s\t%d\t%d\t%s", g.Name, g.state(now), g.Notified, g.Failures, g.Error)
	}
	if len(d.Watches) > 0 {
		row("\nWATCH\tSTATE\tLAST CONTACT")
	}
	for _, w := range d.Watches {
		row("%s\t%s\t%s", w.Name, either(w.Up, "up", "down"), age(w.LastContact, now))
	}
	return t.Flush()
}

func (s Secret) state() string {
	if s.Refused != "" {
		return "refused: " + s.Refused
	}
	return either(s.Present, "present", "gone")
}

func (t Target) state(now time.Time) string {
	if !t.Pending {
		return "notified"
	}
	if t.PendingSince.IsZero() {
		return "pending"
	}
	return "pending for " + now.Sub(t.PendingSince).Round(time.Second).String()
}

func age(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return now.Sub(at).Round(time.Second).String() + " ago"
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
