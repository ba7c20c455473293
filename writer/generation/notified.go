package generation

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"

	"github.com/secret-sync/secret-sync/internal/notification"
)

const maxVolumeID = 64

// Notified contains the record of each target. The first publish writes it, so a
// volume with a generation but without this file has lost it.
type Notified struct {
	Format  int                                  `json:"format"`
	Volume  string                               `json:"volume"` // random ID of the volume
	Targets map[string]notification.TargetRecord `json:"targets"`
	Lost    bool                                 `json:"lost,omitempty"` // earlier records could not be read
}

// Entry returns the record's file.
func (n Notified) Entry(mode fs.FileMode) Entry {
	n.Format = Format
	return Entry{Path: NotifiedFile, Mode: mode, Data: encode(n)}
}

// With returns a copy of n with another record of a target.
func (n Notified) With(target string, record notification.TargetRecord) Notified {
	n.Targets = with(n.Targets, target, record)
	return n
}

// with returns a copy of m with another value of key.
func with[V any](m map[string]V, key string, value V) map[string]V {
	c := map[string]V{key: value}
	maps.Copy(c, m)
	c[key] = value
	return c
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
	for _, record := range n.Targets {
		if record.Notified > MaxFound {
			err = fmt.Errorf("invalid generation %d", record.Notified)
		}
	}
	if err != nil {
		return Notified{}, err
	}
	return n, nil
}
