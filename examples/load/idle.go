package main

import (
	"fmt"
	"time"
)

// idle is table (d): what a sidecar does when nothing happens.
func (b *bench) idle() error {
	rows := [][]string{{"", "wake-ups a minute", "CPU, ms a minute", "over"}}
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
	env, err := b.some("idle", n)
	if err != nil {
		return nil, err
	}
	c, err := b.launch(env...)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := c.has(b.ctx, n); err != nil {
		return nil, err
	}
	before, err := b.after(15*time.Second, c) // the first minute's work is not idle: the grace of generations, say
	if err != nil {
		return nil, err
	}
	began := time.Now()
	now, err := b.after(b.options.idle, c)
	if err != nil {
		return nil, err
	}
	minutes := time.Since(began).Minutes()
	return []string{
		fmt.Sprintf("%d Secrets", n),
		fmt.Sprintf("%.0f", float64(now.switches-before.switches)/minutes),
		fmt.Sprintf("%.0f", float64((now.cpu-before.cpu).Milliseconds())/minutes),
		b.options.idle.String(),
	}, nil
}

// after looks at the process after some time.
func (b *bench) after(d time.Duration, c *sidecar) (activity, error) {
	select {
	case <-time.After(d):
		return activityOf(c.PID())
	case <-b.ctx.Done():
		return activity{}, b.ctx.Err()
	}
}
