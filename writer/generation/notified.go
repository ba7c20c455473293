package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
)

// Notified is the record of which generation each target was notified of last.
type Notified struct {
	Format  int               `json:"format"`
	Targets map[string]uint64 `json:"told"`           // target → generation
	Lost    bool              `json:"lost,omitempty"` // an earlier record could not be read: others may have been in it
}

// Entries is its file, if there is something to keep.
func (n Notified) Entries(mode fs.FileMode) []Entry {
	if len(n.Targets) == 0 && !n.Lost {
		return nil
	}
	n.Format = Format
	return []Entry{{Path: NotifiedFile, Mode: mode, Data: encode(n)}}
}

// With has target notified of generation.
func (n Notified) With(target string, generation uint64) Notified {
	targets := map[string]uint64{}
	maps.Copy(targets, n.Targets)
	targets[target] = generation
	n.Targets = targets
	return n
}

// ParseNotified reads what Entries made.
func ParseNotified(data []byte) (n Notified, err error) {
	if err := json.Unmarshal(data, &n); err != nil {
		return Notified{}, err
	}
	if n.Format != Format {
		return Notified{}, fmt.Errorf("format %d", n.Format)
	}
	for _, generation := range n.Targets {
		if generation > MaxGeneration {
			return Notified{}, fmt.Errorf("generation %d", generation)
		}
	}
	return n, nil
}
