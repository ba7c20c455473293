package main

import (
	"fmt"
	"time"
)

// idle is table (d): what a sidecar does when nothing happens.
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
	if _, err := b.watch(c, 15*time.Second); err != nil { // not idle yet: the grace of generations, say
		return nil, err
	}
	before, err := activityOf(c.PID())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	moments, err := b.watch(c, b.options.idle)
	if err != nil {
		return nil, err
	}
	now, err := activityOf(c.PID())
	if err != nil {
		return nil, err
	}
	minutes := time.Since(began).Minutes()
	return []string{
		fmt.Sprintf("%d Secrets", n),
		fmt.Sprintf("%.0f", float64(moments)/minutes),
		fmt.Sprintf("%.0f", float64(now.switches-before.switches)/minutes),
		fmt.Sprintf("%.0f", float64((now.cpu-before.cpu).Milliseconds())/minutes),
		b.options.idle.String(),
	}, nil
}

// watch counts the moments in which the process did something: what lies within
// some ticks of each other is one.
func (b *bench) watch(c *sidecar, d time.Duration) (moments int, err error) {
	ticker, end := time.NewTicker(50*time.Millisecond), time.After(d)
	defer ticker.Stop()
	last, err := activityOf(c.PID())
	for working := false; err == nil; {
		select {
		case <-ticker.C:
			var now activity
			if now, err = activityOf(c.PID()); now.switches != last.switches && !working {
				moments++
			}
			working, last = now.switches != last.switches, now
		case <-end:
			return moments, nil
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	return 0, err
}
