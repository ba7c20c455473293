package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/secret-sync/secret-sync/test/tools/load/candidate"
	"github.com/secret-sync/secret-sync/test/tools/load/usage"
)

// fleet measures table (b): many sidecars with a single API server.
func (b *bench) fleet() error {
	if b.sidecars < 2 {
		return fmt.Errorf("-sidecars %d: must be at least 2", b.sidecars)
	}
	rows := [][]string{{
		"", "all started in", "API server: MB of each",
		"its CPU ms of each, at the start", "its CPU ms of each, at a rotation",
		"rotated file, p50 ms", "p99 ms", "the last, p50 ms", "PSS of one more, MB",
	}}
	for _, by := range []struct{ name, env string }{
		{"by name", "SECRETSYNC_SECRETS=s0"},
		{"by selector", "SECRETSYNC_SELECTOR=fleet=yes"},
	} {
		row, err := b.fleetBy(by.name, by.env)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	title := fmt.Sprintf("%d sidecars on one machine, with their API server (%d rotations)", b.sidecars, b.rotations)
	table(title, transposed(rows))
	return nil
}

// transposed turns rows into columns, because there are too many columns.
func transposed(rows [][]string) [][]string {
	columns := make([][]string, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			columns[i] = append(columns[i], cell)
		}
	}
	return columns
}

var label = map[string]string{"fleet": "yes"}

func (b *bench) fleetBy(name, how string) (row []string, err error) {
	env, err := b.namespace("fleet", how)
	if err != nil {
		return nil, err
	}
	if err := b.setSecret("fleet", "s0", small, label); err != nil {
		return nil, err
	}
	server, err := usage.ChildNamed("kube-apiserver")
	if err != nil {
		return nil, err
	}
	f := &fleet{bench: b, server: server, published: map[string]bool{}}
	defer f.end()
	if err := f.volumes(); err != nil {
		return nil, err
	}
	if err := f.launch(env); err != nil {
		return nil, err
	}
	if err := f.rotate(); err != nil {
		return nil, err
	}
	one, err := f.marginalMemory()
	if err != nil {
		return nil, err
	}
	n := float64(b.sidecars)
	return []string{
		name, f.startedIn.Round(100 * time.Millisecond).String(),
		fmt.Sprintf("%.2f", float64(f.memory)/1e6/n), fmt.Sprintf("%.1f", ms64(f.startCPU)/n),
		fmt.Sprintf("%.2f", ms64(f.rotateCPU)/n/float64(b.rotations)),
		ms(quantile(f.times, 50)), ms(quantile(f.times, 99)), ms(quantile(f.last, 50)), one,
	}, nil
}

func ms64(d time.Duration) float64 { return float64(d) / 1e6 }

// A fleet is a number of running sidecars.
type fleet struct {
	*bench
	server    int // the PID of the API server
	all       []*candidate.Process
	seen      *candidate.Volumes
	published map[string]bool // volume → has published the expected generation

	startedIn           time.Duration
	memory              int64 // the growth of the API server
	startCPU, rotateCPU time.Duration
	times               []time.Duration // for each sidecar and rotation
	last                []time.Duration // for the slowest sidecar of each rotation
}

func (f *fleet) end() {
	if f.seen != nil {
		_ = f.seen.Close()
	}
	for _, s := range f.all {
		s.End()
	}
}

// volumes creates a volume for each sidecar. It watches them before the first start,
// because the sidecars use up the inotify instances of the user and continue without.
func (f *fleet) volumes() (err error) {
	var dirs []string
	for range f.sidecars {
		dir, err := f.volume()
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
		f.published[dir] = false
	}
	f.seen, err = candidate.Follow(dirs...)
	return err
}

// launch starts all sidecars at once, as when a Deployment is scaled.
func (f *fleet) launch(env []string) error {
	memory, cpu, err := f.serverUse()
	if err != nil {
		return err
	}
	began := time.Now()
	for dir := range f.published {
		s, err := candidate.Start(exec.Command(f.binary), dir, env)
		if err != nil {
			return err
		}
		f.all = append(f.all, s)
	}
	if _, err := f.waitPublished(began); err != nil {
		return err
	}
	f.startedIn = time.Since(began)
	if _, err := f.watch(f.all[0], 5*time.Second); err != nil { // until the start is finished
		return err
	}
	nowMemory, nowCPU, err := f.serverUse()
	f.memory, f.startCPU = nowMemory-memory, nowCPU-cpu
	return err
}

func (f *fleet) serverUse() (memory int64, cpu time.Duration, err error) {
	u, err := usage.MemoryOf(f.server)
	if err != nil {
		return 0, 0, err
	}
	a, err := usage.ActivityOf(f.server)
	return u.RSS, a.CPU, err
}

// rotate changes the Secret repeatedly. Each change waits for all volumes.
func (f *fleet) rotate() error {
	_, cpu, err := f.serverUse()
	if err != nil {
		return err
	}
	for range f.rotations {
		if err := f.rotateOnce(); err != nil {
			return err
		}
	}
	_, now, err := f.serverUse()
	f.rotateCPU = now - cpu
	return err
}

func (f *fleet) rotateOnce() error {
	began := time.Now()
	if err := f.setSecret("fleet", "s0", small, label); err != nil {
		return err
	}
	times, err := f.waitPublished(began)
	if err != nil {
		return err
	}
	f.times = append(f.times, times...)
	f.last = append(f.last, time.Since(began))
	return nil
}

// waitPublished waits until each volume has published, and returns the duration for each
// volume.
func (f *fleet) waitPublished(began time.Time) (times []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Minute)
	defer cancel()
	for dir := range f.published {
		f.published[dir] = false
	}
	for len(times) < len(f.published) {
		dir, at, err := f.seen.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("%d of %d volumes have published: %w", len(times), len(f.published), err)
		}
		if !f.published[dir] {
			f.published[dir] = true
			times = append(times, at.Sub(began))
		}
	}
	return times, nil
}

// marginalMemory returns the memory that each sidecar after the first costs the machine.
// Memory that the sidecars share counts once.
func (f *fleet) marginalMemory() (string, error) {
	var sum int64
	for _, s := range f.all {
		u, err := usage.MemoryOf(s.PID())
		if err != nil {
			return "", err
		}
		if u.PSS < 0 {
			return "- (needs root)", nil
		}
		sum += u.PSS
	}
	last, err := usage.MemoryOf(f.all[0].PID())
	if err != nil {
		return "", err
	}
	alone := last.RSS // without other sidecars to share pages with
	return usage.MB((sum - alone) / int64(len(f.all)-1)), nil
}
