package main

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// limits measures a start and changes below CPU limits. It requires root.
func (b *bench) limits() error {
	env, err := b.namespace("limits", "SECRETSYNC_SECRETS=db")
	if err != nil {
		return err
	}
	if err := b.setSecret("limits", "db", small, nil); err != nil {
		return err
	}
	rows := [][]string{{
		"CPU limit", "first file p50", "p99", "CPU of a start", "put to file p50", "p99", "CPU of a change",
	}}
	for _, millicores := range []int{10, 50, 100, 0} {
		row, err := b.limited(env, millicores)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	table(fmt.Sprintf("With a CPU limit, ms (%d starts, %d puts)", b.starts, b.puts), rows)
	return nil
}

func (b *bench) limited(env []string, millicores int) ([]string, error) {
	group, err := usage.NewGroup(millicores)
	if err != nil {
		return nil, err
	}
	defer group.Remove()
	var starts, startCPU []time.Duration
	for range b.starts {
		took, used, err := b.limitedStart(env, group)
		if err != nil {
			return nil, err
		}
		starts, startCPU = append(starts, took), append(startCPU, used)
	}
	changes, used, err := b.limitedChanges(env, group)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%dm", millicores)
	if millicores == 0 {
		name = "none"
	}
	return []string{
		name, ms(quantile(starts, 50)), ms(quantile(starts, 99)), ms(quantile(startCPU, 50)),
		ms(quantile(changes, 50)), ms(quantile(changes, 99)), ms(used),
	}, nil
}

// limitedStart returns the time from exec to the first files, and the CPU time of the
// process up to them.
func (b *bench) limitedStart(env []string, group usage.Group) (took, used time.Duration, err error) {
	dir, err := b.volume()
	if err != nil {
		return 0, 0, err
	}
	seen, err := candidate.Follow(dir)
	if err != nil {
		return 0, 0, err
	}
	defer seen.Close()
	began := time.Now()
	c, err := candidate.Start(b.in(group), dir, env)
	if err != nil {
		return 0, 0, err
	}
	defer c.End()
	_, at, err := seen.Next(b.ctx)
	if err != nil {
		return 0, 0, err
	}
	used, err = usage.CPUOf(c.PID())
	return at.Sub(began), used, err
}

// limitedChanges returns the time of each put to the file, and the CPU time of a change.
func (b *bench) limitedChanges(env []string, group usage.Group) (took []time.Duration, used time.Duration, err error) {
	dir, err := b.volume()
	if err != nil {
		return nil, 0, err
	}
	c, err := candidate.Start(b.in(group), dir, env)
	if err != nil {
		return nil, 0, err
	}
	defer c.End()
	if err := c.WaitFiles(b.ctx, 1); err != nil {
		return nil, 0, err
	}
	seen, err := candidate.Follow(dir)
	if err != nil {
		return nil, 0, err
	}
	defer seen.Close()
	<-time.After(2 * time.Second) // the rest of the start
	before, err := usage.CPUOf(c.PID())
	if err != nil {
		return nil, 0, err
	}
	for range b.puts {
		began := time.Now()
		if err := b.setSecret("limits", "db", small, nil); err != nil {
			return nil, 0, err
		}
		_, at, err := seen.Next(b.ctx)
		if err != nil {
			return nil, 0, err
		}
		took = append(took, at.Sub(began))
		<-time.After(300 * time.Millisecond) // rotations are rare: each finds an unused quota
	}
	now, err := usage.CPUOf(c.PID())
	return took, (now - before) / time.Duration(b.puts), err
}

// in returns a command that enters the group and becomes secret-sync.
func (b *bench) in(group usage.Group) *exec.Cmd {
	return exec.Command("/bin/sh", "-c", `echo $$ >"$1" && exec "$2"`, "sh", group.Processes(), b.binary)
}
