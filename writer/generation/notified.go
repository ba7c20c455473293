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
	targets := map[string]uint64{}
	maps.Copy(targets, n.Targets)
	targets[target] = generation
	n.Targets = targets
	return n
}

// Reset returns a copy of n in which every target is pending.
func (n Notified) Reset() Notified {
	targets := map[string]uint64{}
	for target := range n.Targets {
		targets[target] = 0
	}
	n.Targets, n.Lost = targets, true
	return n
}

// WithEnded returns a copy of n with the ends of target. Zero times removes them.
func (n Notified) WithEnded(target string, e Ended) Notified {
	all := map[string]Ended{}
	maps.Copy(all, n.Ended)
	all[target] = e
	maps.DeleteFunc(all, func(_ string, e Ended) bool { return e.Times == 0 })
	n.Ended = all
	return n
}

// ParseNotified parses the JSON of a Notified.
func ParseNotified(data []byte) (n Notified, err error) {
	if err := json.Unmarshal(data, &n); err != nil {
		return Notified{}, err
	}
	if n.Format != Format {
		return Notified{}, fmt.Errorf("unsupported format %d", n.Format)
	}
	if len(n.Volume) > maxVolumeID {
		return Notified{}, fmt.Errorf("the ID of the volume is longer than %d bytes", maxVolumeID)
	}
	for _, generation := range n.Targets {
		if generation > MaxGeneration {
			return Notified{}, fmt.Errorf("invalid generation %d", generation)
		}
	}
	return n, nil
}
