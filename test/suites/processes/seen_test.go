//go:build programs

package processes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// seen is a line written by the receiver at a notification.
type seen struct {
	Notified   uint64 // the generation in the notification; 0: a signal, which carries none
	Generation uint64 // the generation in the volume
	Value      int64  `json:",string"`
	At         time.Time
}

// check reads the lines since the last check. Each generation must be newer than the last
// generation recorded as notified. It may occur once, and once more for each kill
// of the sidecar.
func (c *crash) check(kills int) {
	c.T.Helper()
	all, err := c.lines()
	if err != nil {
		c.T.Fatal(err)
	}
	count := map[uint64]int{}
	for _, s := range all[c.checked:] {
		of := s.Notified
		if c.target == "process" { // a signal does not say
			of = s.Generation
		}
		value, known := c.values[s.Generation]
		count[s.Notified]++
		switch {
		case s.Generation < s.Notified:
			c.T.Errorf("notified before its files were there: %+v", s)
		case of <= c.recorded:
			c.T.Errorf("notified of generation %d, when nothing had changed since %d was notified", of, c.recorded)
		case known && value != s.Value:
			c.T.Errorf("generation %d has the values %d and %d", s.Generation, value, s.Value)
		}
		c.values[s.Generation] = s.Value
	}
	record := c.record()
	for generation, n := range count {
		most := 1 + kills
		if c.target == "process" { // a signal may have been seen after the next publish
			most = int(record-c.recorded) + kills
		}
		if n > most {
			c.T.Errorf("notified %d times of generation %d, with %d kills, after generation %d", n, generation, kills,
				c.recorded)
		}
	}
	c.checked, c.recorded = len(all), record
}

// note counts a kill of the sidecar by the step it interrupted.
func (c *crash) note() {
	last, record := c.newest(), c.record()
	all, _ := c.lines()
	var at uint64
	if len(all) > 0 {
		at = all[len(all)-1].Generation
	}
	switch {
	case last == c.recorded:
		c.fell[0]++
	case at < last:
		c.fell[1]++
	case record < last:
		c.fell[2]++
	default:
		c.fell[3]++
	}
}

func (c *crash) lines() (all []seen, err error) { return readSeen(c.out) }

// readSeen returns the lines of a receiver's output.
func readSeen(out string) (all []seen, err error) {
	text, err := os.ReadFile(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var s seen
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		all = append(all, s)
	}
	return all, err
}

// newest is the generation in the volume.
func (c *crash) newest() uint64 {
	var r struct{ Generation uint64 }
	c.read(c.Generation()+".json", &r)
	return r.Generation
}

// record returns the target's last notified generation, as recorded in the volume.
func (c *crash) record() (notified uint64) {
	var r struct {
		Targets map[string]struct{ Notified uint64 }
	}
	c.read("..notified.json", &r)
	for _, record := range r.Targets { // there is a single target
		notified = record.Notified
	}
	return notified
}

func (c *crash) read(name string, into any) {
	data, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		c.T.Log(err) // between two looks; whoever waits looks again
	}
}
