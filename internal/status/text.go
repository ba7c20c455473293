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
		state := either(s.Present, "present", "gone")
		if s.Refused != "" {
			state = "refused: " + s.Refused
		}
		row("%s\t%s\t%s\t%d\t%s", name, state, s.ResourceVersion, s.Generation, s.UID)
	}
	row("\nTARGET\tSTATE\tNOTIFIED\tFAILURES\tERROR")
	for _, g := range d.Targets {
		state := either(g.Pending, "pending", "notified")
		if g.Pending && !g.PendingSince.IsZero() {
			state += " for " + now.Sub(g.PendingSince).Round(time.Second).String()
		}
		row("%s\t%s\t%d\t%d\t%s", g.Name, state, g.Notified, g.Failures, g.Error)
	}
	row("\nWATCH\tSTATE\tLAST CONTACT")
	for _, w := range d.Watches {
		contact := now.Sub(w.LastContact).Round(time.Second).String() + " ago"
		row("%s\t%s\t%s", w.Name, either(w.Up, "up", "down"), either(w.LastContact.IsZero(), "never", contact))
	}
	return t.Flush()
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
