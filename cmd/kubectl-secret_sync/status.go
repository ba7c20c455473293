package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/secret-sync/secret-sync/internal/rollout"
	"github.com/secret-sync/secret-sync/internal/status"
)

const (
	surveyPause    = 2 * time.Second // between two surveys of status -w
	surveysAtATime = 8               // namespaces of status -A
)

// statusFlags are the flags of the command status.
type statusFlags struct {
	rollout.Options
	all, watch bool
	format     string
}

// newStatus returns the command status.
func newStatus(p *plugin) *cobra.Command {
	f := &statusFlags{}
	c := &cobra.Command{
		Use:   "status SECRET [-l SELECTOR]",
		Short: "Show the version of a Secret in every Pod that uses it",
		Long: "Show the version of a Secret in every Pod that uses it, or in every Pod of a selector.\n\n" +
			"Pods that need attention come first. The command asks each sidecar once, and with -w again and again.",
		Example: "  kubectl secret-sync status db -n shop\n  kubectl secret-sync status db -l app=shop -w",
		Args:    maxArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return p.status(c.Context(), f)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.Selector, "selector", "l", "", "label selector of the Pods; default: all users of the Secret")
	flags.BoolVarP(&f.all, "all-namespaces", "A", false, "show the Secrets of this name in all namespaces")
	flags.BoolVarP(&f.watch, "watch", "w", false, "follow changes")
	flags.BoolVar(&f.Direct, "direct", false, "connect to the addresses of the Pods, not through the API server")
	flags.StringVarP(&f.format, "output", "o", "", "wide or json")
	return c
}

func (f *statusFlags) check(args []string) error {
	if len(args) == 0 {
		return errors.New("the name of the Secret is missing")
	}
	if f.Secret = args[0]; len(validation.IsDNS1123Subdomain(f.Secret)) > 0 {
		return fmt.Errorf("%q: must be the name of a Secret, such as db", f.Secret)
	}
	if _, err := labels.Parse(f.Selector); err != nil {
		return fmt.Errorf("--selector %q: %w", f.Selector, err)
	}
	if f.format != "" && f.format != "wide" && f.format != "json" {
		return fmt.Errorf("-o %q: must be wide or json", f.format)
	}
	return nil
}

// A survey is the state of a Secret and its users in some namespaces.
type survey struct {
	Versions []rollout.Version  `json:"versions"`
	Pods     []rollout.PodState `json:"pods"`
}

func (p *plugin) status(ctx context.Context, f *statusFlags) (err error) {
	if f.API, err = p.client("status"); err != nil {
		return err
	}
	defer f.API.Close()
	printed := ""
	for {
		s, err := p.survey(ctx, f)
		if ctx.Err() != nil && f.watch {
			return nil
		}
		changed := s.withoutAges(f)
		redraw := f.format != "json" && interpretsEscapes(p.Out) // the ages grow
		if len(s.Versions) > 0 && (changed != printed || redraw) {
			if err := s.print(p.Out, f, printed == ""); err != nil {
				return err
			}
			printed = changed
		}
		if !f.watch {
			return err
		}
		if err != nil {
			fmt.Fprintln(p.ErrOut, "secret-sync:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(surveyPause):
		}
	}
}

// survey asks the sidecars of all chosen namespaces. With -A, it leaves out namespaces without
// the Secret.
func (p *plugin) survey(ctx context.Context, f *statusFlags) (s survey, err error) {
	s.Pods = []rollout.PodState{} // not null in JSON
	namespaces, err := p.chosenNamespaces(ctx, f)
	if err != nil {
		return s, err
	}
	surveys, failures := make([]survey, len(namespaces)), make([]error, len(namespaces))
	var group errgroup.Group
	group.SetLimit(surveysAtATime)
	for i, namespace := range namespaces {
		group.Go(func() error {
			r, err := rollout.Survey(ctx, f.Options, namespace)
			switch {
			case err == nil:
				surveys[i] = survey{r.Versions, r.Pods}
			case !f.all || !apierrors.IsNotFound(err):
				failures[i] = fmt.Errorf("namespace %s: %w", namespace, err)
			}
			return nil
		})
	}
	_ = group.Wait()
	for _, one := range surveys {
		s.Versions, s.Pods = append(s.Versions, one.Versions...), append(s.Pods, one.Pods...)
	}
	if len(s.Versions) == 0 && errors.Join(failures...) == nil {
		return s, fmt.Errorf("no namespace contains a Secret %q", f.Secret)
	}
	slices.SortStableFunc(s.Pods, attentionFirst)
	return s, errors.Join(failures...)
}

func (p *plugin) chosenNamespaces(ctx context.Context, f *statusFlags) (names []string, err error) {
	if !f.all {
		namespace, err := p.namespace()
		return []string{namespace}, err
	}
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	client, err := corev1.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	list, err := client.Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the namespaces for -A: %w", err)
	}
	for _, namespace := range list.Items {
		names = append(names, namespace.Name)
	}
	return names, nil
}

// withoutAges returns a text that changes if a row of the table changes.
func (s survey) withoutAges(f *statusFlags) string {
	var b bytes.Buffer
	t := table{secret: f.Secret, wide: true, namespaces: true}
	t.write(&b, s)
	return b.String()
}

// print prints the survey. With -w on a terminal, it replaces the previous table.
func (s survey) print(out io.Writer, f *statusFlags, first bool) error {
	if f.format == "json" {
		return status.WriteJSON(out, s)
	}
	var b bytes.Buffer
	switch {
	case f.watch && interpretsEscapes(out):
		b.WriteString("\x1b[H\x1b[2J")
	case !first:
		b.WriteString("\n")
	}
	t := table{secret: f.Secret, wide: f.format == "wide", namespaces: f.all, now: time.Now()}
	t.colored = interpretsEscapes(out) && os.Getenv("NO_COLOR") == "" // a convention of terminals
	t.write(&b, s)
	_, err := out.Write(b.Bytes())
	return err
}
