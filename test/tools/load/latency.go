package main

import (
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// start measures the first half of table (c): the time from exec to the first files.
func (b *bench) start() error {
	env, err := b.namespace("start", "SECRETSYNC_SECRETS=db")
	if err != nil {
		return err
	}
	if err := b.setSecret("start", "db", small, nil); err != nil {
		return err
	}
	var times []time.Duration
	for range b.starts {
		took, err := b.startOnce(env)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	bare, err := b.bareStarts()
	if err != nil {
		return err
	}
	table("From exec, ms", [][]string{
		{"", "p50", "p99", "starts"},
		{"to the first files", ms(quantile(times, 50)), ms(quantile(times, 99)), fmt.Sprint(len(times))},
		{"`secret-sync version`, start to end", ms(quantile(bare, 50)), ms(quantile(bare, 99)), fmt.Sprint(len(bare))},
	})
	return nil
}

func (b *bench) startOnce(env []string) (time.Duration, error) {
	dir, err := b.volume()
	if err != nil {
		return 0, err
	}
	seen, err := candidate.Follow(dir)
	if err != nil {
		return 0, err
	}
	defer seen.Close()
	began := time.Now()
	c, err := candidate.Start(exec.Command(b.binary), dir, env)
	if err != nil {
		return 0, err
	}
	defer c.End()
	_, at, err := seen.Next(b.ctx)
	return at.Sub(began), err
}

func (b *bench) bareStarts() (times []time.Duration, err error) {
	for range b.starts {
		began := time.Now()
		if err := exec.CommandContext(b.ctx, b.binary, "version").Run(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

// latency measures the second half of table (c): the time from the update of a Secret to
// the file, compared with a bare watch of the same updates in this process.
func (b *bench) latency() error {
	env, err := b.namespace("latency", "SECRETSYNC_SECRETS=db")
	if err != nil {
		return err
	}
	if err := b.setSecret("latency", "db", small, nil); err != nil {
		return err
	}
	c, err := b.launch(env...)
	if err != nil {
		return err
	}
	defer c.End()
	if err := c.WaitFiles(b.ctx, 1); err != nil {
		return err
	}
	seen, err := candidate.Follow(c.Dir)
	if err != nil {
		return err
	}
	defer seen.Close()
	files, bare, err := b.updateAndWatch(seen)
	if err != nil {
		return err
	}
	ratio := func(p int) string { return fmt.Sprintf("%.2f", float64(quantile(files, p))/float64(quantile(bare, p))) }
	table(fmt.Sprintf("From a put to, ms (%d puts)", b.puts), [][]string{
		{"", "p50", "p99"},
		{"the event of a bare watch", ms(quantile(bare, 50)), ms(quantile(bare, 99))},
		{"the file", ms(quantile(files, 50)), ms(quantile(files, 99))},
		{"ratio", ratio(50), ratio(99)},
	})
	return nil
}

func (b *bench) updateAndWatch(seen *candidate.Volumes) (files, bare []time.Duration, err error) {
	secrets := b.cp.Client.CoreV1().Secrets("latency")
	w, err := secrets.Watch(b.ctx, metav1.ListOptions{FieldSelector: "metadata.name=db"})
	if err != nil {
		return nil, nil, err
	}
	defer w.Stop()
	<-w.ResultChan() // the current state
	for range b.puts {
		event := make(chan time.Time, 1)
		go func() {
			for e := range w.ResultChan() {
				if e.Type == watch.Modified {
					event <- time.Now()
					return
				}
			}
		}()
		began := time.Now()
		if err := b.setSecret("latency", "db", small, nil); err != nil {
			return nil, nil, err
		}
		_, at, err := seen.Next(b.ctx)
		if err != nil {
			return nil, nil, err
		}
		files, bare = append(files, at.Sub(began)), append(bare, (<-event).Sub(began))
	}
	return files, bare, nil
}

// quantile returns the p-th percentile.
func quantile(times []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
