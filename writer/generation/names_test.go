package generation

import (
	"encoding/json"
	"testing"
	"time"
)

// TestLayout_text: a layout is read as it was written.
func TestLayout_text(t *testing.T) {
	for _, layout := range []Layout{Nested, Flat} {
		var got Layout
		text, err := json.Marshal(layout)
		if err != nil || json.Unmarshal(text, &got) != nil || got != layout || string(text) != `"`+string(layout)+`"` {
			t.Errorf("%v: got %s, %v", layout, text, err)
		}
	}
	if Nested.Path("db", "a/b") != "db/a/b" || Flat.Path("db", "a/b") != "a/b" {
		t.Error("wrong path")
	}
}

// TestIsOwn_namesOfThisProgram: foreign names may begin with two dots.
func TestIsOwn_namesOfThisProgram(t *testing.T) {
	gen := NewName(time.Date(2026, 11, 22, 10, 44, 52, 193935138, time.UTC))
	if gen != "..2026_11_22_10_44_52.193935138" {
		t.Errorf("got name %s", gen)
	}
	for name, want := range map[string]bool{
		gen: true, gen + ".json": true, "..data": true, "..data_tmp": true, "..notified.json": true,
		"..other": false, "..link_tmp": false, "..notified.json_tmp": false, gen + "x": false, "data": false,
	} {
		if got := IsOwn(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]string{"key": "..data/key", "db/..data": "../..data/db",
		"db/key": "..data/key"} {
		if got := OwnTarget(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
