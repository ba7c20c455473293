package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/secret-sync/secret-sync/internal/rollout"
)

// newWait returns the command wait. It decides and prints as `secret-sync wait` does in the
// image of the sidecar.
func newWait(p *plugin) *cobra.Command {
	var w rollout.Options
	c := &cobra.Command{
		Use:   "wait --secret NAME [-l SELECTOR]",
		Short: "Wait until every Pod uses the current version of a Secret",
		Long: "Wait until every Pod uses the current version of a Secret, so the old password can be revoked.\n\n" +
			"The exit code is 0 only if every Pod that counts has the version in its files and has notified its app.",
		Example: "  kubectl secret-sync wait --secret db -n shop && revoke-the-old-password",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: unexpected argument %q; the flag for the Secret is --secret", errUsage, args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if len(w.Namespaces) == 0 {
				namespace, err := p.namespace()
				if err != nil {
					return err
				}
				w.Namespaces = []string{namespace}
			}
			err := w.Check()
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if w.API, err = p.client("wait"); err != nil {
				return err
			}
			defer w.API.Close()
			w.Progress = newProgress(p.ErrOut).Show
			return w.Run(c.Context(), p.Out)
		},
	}
	flags := flag.NewFlagSet("wait", flag.ContinueOnError)
	w.AddFlags(flags)
	addFlags(c, flags)
	c.Flags().StringVarP(&w.Format, "output", "o", "text", "text or json")
	// This flag replaces the flag of the same name that every command has.
	c.Flags().StringArrayVarP(&w.Namespaces, "namespace", "n", nil, "namespace, may be repeated")
	return c
}

// addFlags adds the flags to the command. The selector gets its usual short form.
func addFlags(c *cobra.Command, flags *flag.FlagSet) {
	flags.VisitAll(func(f *flag.Flag) {
		added := pflag.PFlagFromGoFlag(f)
		added.Shorthand = ""
		if f.Name == "selector" {
			added.Shorthand = "l"
		}
		c.Flags().AddFlag(added)
	})
}

// A progress shows the state of a wait: a bar on a terminal, otherwise a line per change.
type progress struct {
	out  io.Writer
	last string
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

// Show displays the state, if it changed. After the state of the end, it leaves the line of the bar.
func (p *progress) Show(r rollout.Result) {
	columns := width(p.out)
	if r.Done || r.Error != "" {
		defer p.end(columns)
	}
	if r.Error != "" {
		return
	}
	if columns == 0 {
		if line := rollout.Line(r); line != p.last {
			fmt.Fprintln(p.out, line)
			p.last = line
		}
		return
	}
	line := fit(bar(r)+" "+rollout.Line(r), columns-1)
	// Spaces overwrite the rest of the previous line, because not every console clears it.
	if line != p.last {
		fmt.Fprint(p.out, "\r"+line+strings.Repeat(" ", max(0, len([]rune(p.last))-len([]rune(line)))))
		p.last = line
	}
}

func (p *progress) end(columns int) {
	if p.last != "" && columns > 0 {
		fmt.Fprintln(p.out)
	}
}

// bar draws the share of the Pods that are done.
func bar(r rollout.Result) string {
	const cells = 20
	done := 0
	for _, pod := range r.Pods {
		if pod.Done {
			done++
		}
	}
	filled := cells * done / max(1, len(r.Pods))
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", cells-filled) + "]"
}

// fit cuts the text to a number of columns.
func fit(text string, columns int) string {
	if runes := []rune(text); len(runes) > columns && columns > 0 {
		return string(runes[:columns-1]) + "…"
	}
	return text
}
