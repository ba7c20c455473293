package pipeline_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/secret-sync/secret-sync/internal/pipeline"
	"github.com/secret-sync/secret-sync/internal/secret"
)

// TestHintRepeated: the hint follows the fifth change of the same key alone, once, and names the
// key. Rotations between the changes do not restart the count. The only key of a Secret, and
// keys that change alternately, are no reason for a hint.
func TestHintRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		states string // values of key, name and ttl
		want   string // the logged key
	}{
		"four":           {"a1 b1 c1,a1 b1 c2,a1 b1 c3,a1 b1 c4,a1 b1 c5", ""},
		"five":           {"a1 b1 c1,a1 b1 c2,a1 b1 c3,a1 b1 c4,a1 b1 c5,a1 b1 c6", "ttl"},
		"once":           {"a1 b1 c1,a1 b1 c2,a1 b1 c3,a1 b1 c4,a1 b1 c5,a1 b1 c6,a1 b1 c7,a1 b1 c8", "ttl"},
		"with rotations": {"a1 b1 c1,a1 b1 c2,a1 b1 c3,a2 b1 c4,a2 b1 c5,a2 b1 c6,a3 b1 c7,a3 b1 c8", "ttl"},
		"alternately":    {"a1 b1 c1,a1 b1 c2,a1 b2 c2,a1 b2 c3,a1 b3 c3,a1 b3 c4,a1 b4 c4,a1 b4 c5,a1 b5 c5", ""},
		"all keys":       {"a1 b1 c1,a2 b2 c2,a3 b3 c3,a4 b4 c4,a5 b5 c5,a6 b6 c6,a7 b7 c7", ""},
		"a single key":   {"a1,a2,a3,a4,a5,a6,a7", ""},
		"removed keys":   {"a b c d e f g,a b c d e f,a b c d e,a b c d,a b c,a b", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.start(t, pipeline.Options{})
			for _, state := range strings.Split(c.states, ",") {
				data := map[string]secret.Value{}
				for j, value := range strings.Fields(state) {
					data[[]string{"key", "name", "ttl", "d", "e", "f", "g"}[j]] = secret.Value("CANARY-" + value)
				}
				w.answerData("db", data)
				synctest.Wait()
			}
			lines := strings.Count(w.log.String(), `msg="a key changes repeatedly"`)
			named := strings.Count(w.log.String(), "key="+c.want+" hint=")
			if want := len(strings.Fields(c.want)); lines != want || named != want {
				t.Errorf("%s: %d hints, want %q:\n%s", name, lines, c.want, w.log.String())
			}
			if strings.Contains(w.log.String(), "CANARY") {
				t.Errorf("%s: the log contains a value", name)
			}
		})
	}
}
