package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
)

const maxVolumeID = 64

// Notified records the generation of each target's last notification. The first
// publish writes it, so a volume with a generation but without this record has lost
// it.
type Notified struct {
	Format  int               `json:"format"`
	Volume  string            `json:"volume"`          // random ID of the volume
	Targets map[string]uint64 `json:"notified"`        // target → generation
	Ended   map[string]Ended  `json:"ended,omitempty"` // by target
	Lost    bool              `json:"lost,omitempty"`  // an earlier record, perhaps of more targets, could not be read
}

// Ended describes the last notifications in a row after which a process ended.
type Ended struct {
	Generation uint64 `json:"generation"` // of the last of them
	Times      int    `json:"times"`
}

// Entry returns the record's file.
func (n Notified) Entry(mode fs.FileMode) Entry {
	n.Format = Format
	return Entry{Path: NotifiedFile, Mode: mode, Data: encode(n)}
}

// With returns a copy of n in which target was notified of generation.
func (n Notified) With(target string, generation uint64) Notified {
	n.Targets = with(n.Targets, target, generation)
	return n
}

// WithEnded returns a copy of n with the ends of target. Zero times removes them.
func (n Notified) WithEnded(target string, e Ended) Notified {
	n.Ended = with(n.Ended, target, e)
	if e.Times == 0 {
		delete(n.Ended, target)
	}
	return n
}

// with returns a copy of m with another value of key.
func with[V any](m map[string]V, key string, value V) map[string]V {
	c := map[string]V{key: value}
	maps.Copy(c, m)
	c[key] = value
	return c
}

// Reset returns a copy of n in which every target is pending.
func (n Notified) Reset() Notified {
	for target := range n.Targets {
		n = n.With(target, 0)
	}
	n.Lost = true
	return n
}

// ParseNotified parses the JSON of a Notified.
func ParseNotified(data []byte) (n Notified, err error) {
	err = json.Unmarshal(data, &n)
	switch {
	case err != nil:
	case n.Format != Format:
		err = fmt.Errorf("unsupported format %d", n.Format)
	case len(n.Volume) > maxVolumeID:
		err = fmt.Errorf("the ID of the volume is longer than %d bytes", maxVolumeID)
	}
	for _, generation := range n.Targets {
		if generation > MaxGeneration {
			err = fmt.Errorf("invalid generation %d", generation)
		}
	}
	if err != nil {
		return Notified{}, err
	}
	return n, nil
}
