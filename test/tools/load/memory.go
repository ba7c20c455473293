package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/plot"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

const (
	small = 64
	other = 8 << 10
	large = 700 << 10
	// changes is the number of updates of a Secret before memory is measured again.
	changes = 20
)

// A sample is a measurement in the table.
type sample struct {
	what       string
	secrets    int
	others     int
	first      usage.Memory // after the first files were written
	changed    usage.Memory // after 20 updates of a Secret
	goroutines string
}

// memory measures table (a).
func (b *bench) memory() error {
	var all []sample
	for _, others := range []int{0, b.others} {
		if err := b.addOthers("memory", others); err != nil {
			return err
		}
		for _, n := range []int{1, 10, 100} {
			s, err := b.memoryByName(n, small)
			if err != nil {
				return err
			}
			s.others = others
			all = append(all, s)
		}
		s, err := b.memoryOfInformer()
		if err != nil {
			return err
		}
		s.others = others
		all = append(all, s)
	}
	s, err := b.memoryByName(1, large)
	if err != nil {
		return err
	}
	s.what, s.others = "secret-sync, 700 KB", b.others
	printMemory(append(all, s))
	if b.plot != "" {
		return os.WriteFile(b.plot, []byte(drawn(all)), 0o644)
	}
	return nil
}

func printMemory(all []sample) {
	rows := [][]string{{
		"", "Secrets", "others of 8 KB", "RSS", "anonymous",
		fmt.Sprintf("RSS after %d changes", changes), "anonymous", "goroutines", "threads",
	}}
	for _, s := range all {
		rows = append(rows, []string{
			s.what, fmt.Sprint(s.secrets), fmt.Sprint(s.others), usage.MB(s.first.RSS), usage.MB(s.first.Anonymous),
			usage.MB(s.changed.RSS), usage.MB(s.changed.Anonymous), s.goroutines, fmt.Sprint(s.changed.Threads),
		})
	}
	table("Memory of one process, MB", rows)
}

// drawn returns the table as a plot.
func drawn(all []sample) string {
	var rows []plot.Bar
	for _, s := range all {
		note := "no other in the namespace"
		if s.others > 0 {
			note = fmt.Sprintf("beside %d others of 8 KB", s.others)
		}
		rows = append(rows, plot.Bar{
			Name: fmt.Sprintf("%s, %d by name", s.what, s.secrets), Note: note,
			Whole: s.changed.RSS, Part: s.changed.Anonymous, Label: usage.MB(s.changed.RSS),
		})
	}
	return plot.SVG(fmt.Sprintf("Memory of one process after %d changes, MB", changes),
		"anonymous", "RSS (the rest is shared by all processes of the binary)", rows)
}

// addOthers creates Secrets in a namespace. No sidecar selects them.
func (b *bench) addOthers(namespace string, n int) error {
	if _, err := b.namespace(namespace, "SECRETSYNC_SECRETS=s0"); err != nil {
		return err
	}
	for i := range n {
		if err := b.setSecret(namespace, fmt.Sprint("other", i), other, nil); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) memoryByName(n, size int) (s sample, err error) {
	env, err := b.smallSecrets("memory", n)
	if err != nil {
		return s, err
	}
	if err := b.setSecret("memory", "s0", size, nil); err != nil {
		return s, err
	}
	c, err := b.launch(append(env, "SECRETSYNC_HTTP_ADDR=127.0.0.1:0")...)
	if err != nil {
		return s, err
	}
	s, err = b.sample(c, n, size)
	s.what = "secret-sync"
	s.goroutines = c.Goroutines()
	c.End()
	return s, err
}

// memoryOfInformer measures the textbook solution with a single Secret.
func (b *bench) memoryOfInformer() (s sample, err error) {
	env, err := b.namespace("memory", "SECRETSYNC_SELECTOR=a") // the role covers the whole namespace
	if err != nil {
		return s, err
	}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	dir, err := b.volume()
	if err != nil {
		return s, err
	}
	c, err := candidate.Start(exec.Command(self, informerCommand), dir, append(env, "SECRETSYNC_SECRETS=s0"))
	if err != nil {
		return s, err
	}
	defer c.End()
	s, err = b.sample(c, 1, small)
	s.what, s.goroutines = "informer", "-"
	return s, err
}

// sample measures a process after it has written all files, and after updates of a Secret.
func (b *bench) sample(c *candidate.Process, secrets, size int) (s sample, err error) {
	s.secrets = secrets
	if err := c.WaitFiles(b.ctx, secrets); err != nil {
		return s, err
	}
	if s.first, err = c.SteadyMemory(b.ctx); err != nil {
		return s, err
	}
	for range changes {
		before, err := c.Content("s0")
		if err != nil {
			return s, err
		}
		if err := b.setSecret("memory", "s0", size, nil); err != nil {
			return s, err
		}
		err = candidate.Until(b.ctx, "a change", func() error {
			if now, err := c.Content("s0"); err != nil || now == before {
				return fmt.Errorf("the file is unchanged (%v)", err)
			}
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	s.changed, err = c.SteadyMemory(b.ctx)
	return s, err
}
