package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
)

// Notified is the record of the generation that each target was last notified of.
type Notified struct {
	Format  int               `json:"format"`
	Targets map[string]uint64 `json:"notified"`       // target → generation
	Lost    bool              `json:"lost,omitempty"` // an earlier record, perhaps of more targets, could not be read
}

// Entries returns the record's file, or nothing if the record is empty.
func (n Notified) Entries(mode fs.FileMode) []Entry {
	if len(n.Targets) == 0 && !n.Lost {
		return nil
	}
	n.Format = Format
	return []Entry{{Path: NotifiedFile, Mode: mode, Data: encode(n)}}
}

// With returns a copy of n in which target was notified of generation.
func (n Notified) With(target string, generation uint64) Notified {
	targets := map[string]uint64{}
	maps.Copy(targets, n.Targets)
	targets[target] = generation
	n.Targets = targets
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
	for _, generation := range n.Targets {
		if generation > MaxGeneration {
			return Notified{}, fmt.Errorf("invalid generation %d", generation)
		}
	}
	return n, nil
}
