package writer

import (
	"context"
	"errors"
	"maps"
	"testing"
)

// TestSwap: until the rename, apps see the old files. Without the rename, the publish fails and the old files stay.
func TestSwap(t *testing.T) {
	opts := testOptions(t, t.TempDir())
	allowed := true
	var during map[string]string
	opts.Swap = func(_ context.Context, rename func() error) error {
		if during = visible(t, opts.Dir); !allowed {
			return context.Canceled
		}
		return rename()
	}
	w := opened(t, opts)
	publish(t, w, one("db", files("1", "password", "a")))
	before := visible(t, opts.Dir)
	for _, allowed = range []bool{false, true} {
		_, err := w.Publish(t.Context(), one("db", files("2", "password", "b")))
		if errors.Is(err, context.Canceled) == allowed || !maps.Equal(during, before) {
			t.Errorf("error %v, visible before the rename: %v, want %v", err, during, before)
		}
		if got := visible(t, opts.Dir); maps.Equal(got, before) == allowed {
			t.Errorf("allowed = %v: visible %v, before %v", allowed, got, before)
		}
	}
}
