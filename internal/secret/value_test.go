package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/secret-sync/secret-sync/internal/secret"
)

func TestValue_printsNothing(t *testing.T) {
	const canary = "hunter2-canary"
	v := secret.Value(canary)
	in := map[string]any{"value": v, "slice": []secret.Value{v}, "map": map[string]secret.Value{"k": v}, "pointer": &v}
	var out strings.Builder
	for name, x := range in {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%08b"} {
			fmt.Fprintf(&out, "%s "+verb+"\n", name, x)
		}
		j, err := json.Marshal(x)
		if err != nil {
			t.Fatalf("json of a %s: %v", name, err)
		}
		out.Write(j)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", name, x)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", name, x)
		out.Write(log.Bytes())
	}
	for _, leak := range []string{
		canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary)), "aHVudGVyMi1jYW5hcnk",
	} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the output holds %q:\n%s", leak, out.String())
		}
	}
}
