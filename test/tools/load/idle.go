package main

import (
	"fmt"
	"time"

	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// idle measures table (d): the activity of a sidecar while nothing changes.
func (b *bench) idle() error {
	rows := [][]string{{"", "moments of work a minute", "threads woken", "CPU, ms a minute", "over"}}
	for _, n := range []int{1, 10} {
		row, err := b.idleOf(n)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	table("An idle sidecar", rows)
	return nil
}

func (b *bench) idleOf(n int) ([]string, error) {
	env, err := b.smallSecrets("idle", n)
	if err != nil {
		return nil, err
	}
	c, err := b.launch(env...)
	if err != nil {
		return nil, err
	}
	defer c.End()
	if err := c.WaitFiles(b.ctx, n); err != nil {
		return nil, err
	}
	if _, err := b.watch(c, 15*time.Second); err != nil { // until the grace period is over
		return nil, err
	}
	before, err := usage.ActivityOf(c.PID())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	moments, err := b.watch(c, b.options.idle)
	if err != nil {
		return nil, err
	}
	now, err := usage.ActivityOf(c.PID())
	if err != nil {
		return nil, err
	}
	minutes := time.Since(began).Minutes()
	return []string{
		fmt.Sprintf("%d Secrets", n),
		fmt.Sprintf("%.0f", float64(moments)/minutes),
		fmt.Sprintf("%.0f", float64(now.Switches-before.Switches)/minutes),
		fmt.Sprintf("%.0f", float64((now.CPU-before.CPU).Milliseconds())/minutes),
		b.options.idle.String(),
	}, nil
}

// watch counts the periods in which the process was active. A period ends with a second
// without activity.
func (b *bench) watch(c *candidate.Process, d time.Duration) (moments int, err error) {
	const tick, pause = 50 * time.Millisecond, 20
	ticker, end := time.NewTicker(tick), time.After(d)
	defer ticker.Stop()
	last, err := usage.ActivityOf(c.PID())
	for quiet := pause; err == nil; {
		select {
		case <-ticker.C:
			var now usage.Activity
			now, err = usage.ActivityOf(c.PID())
			if quiet++; now.Switches != last.Switches {
				if quiet > pause {
					moments++
				}
				quiet = 0
			}
			last = now
		case <-end:
			return moments, nil
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	return 0, err
}
