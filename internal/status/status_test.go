package status

import (
	"strings"
	"testing"
	"time"
)

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{"", "ok", "[]", "{}", `{"format":2}`, `{"format":1`} {
		if d, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "not a status document of format 1") {
			t.Errorf("%q: got %+v, %v", text, d, err)
		}
	}
}

func TestWriteAndParse(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	d := &Document{
		Format: Format, Namespace: "shop", Pod: "app-1", Generation: 7, Complete: true,
		Secrets: map[string]Secret{
			"db":  {Present: true, UID: "u", ResourceVersion: "4711", Generation: 6},
			"tls": {Refused: "missing_key"},
			"old": {},
		},
		Targets: []Target{
			{Name: "process", Notified: 7},
			{Name: "webhook", Notified: 6, Pending: true, PendingSince: at, Failures: 3, Error: "HTTP 503"},
		},
		Watches: []Watch{{Name: "secret/db", Up: true, LastContact: at}, {Name: "secret/tls"}},
	}
	var json, text strings.Builder
	if err := WriteJSON(&json, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"format": 1`, `"namespace": "shop"`, `"pod": "app-1"`, `"generation": 7`, `"complete": true`,
		`"present": true`, `"uid": "u"`, `"resourceVersion": "4711"`, `"refused": "missing_key"`,
		`"name": "process"`, `"notified": 7`, `"pending": false`, `"failures": 3`, `"error": "HTTP 503"`,
		`"up": true`, `"lastContact": "2026-11-24T08:00:00Z"`, `"pendingSince": "2026-11-24T08:00:00Z"`,
	} {
		if !strings.Contains(json.String(), want) {
			t.Errorf("lacks %s:\n%s", want, json.String())
		}
	}
	if got, err := Parse([]byte(json.String())); err != nil || got.Secrets["db"] != d.Secrets["db"] || len(got.Targets) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := d.WriteText(&text, at.Add(90*time.Second)); err != nil {
		t.Fatal(err)
	}
	want := `generation 7, complete

SECRET  STATE                 VERSION  GENERATION  UID
db      present               4711     6           u
old     gone                           0           
tls     refused: missing_key           0           

TARGET   STATE               NOTIFIED  FAILURES  ERROR
process  notified            7         0         
webhook  pending for 1m30s   6         3         HTTP 503

WATCH       STATE  LAST CONTACT
secret/db   up     1m30s ago
secret/tls  down   never
`
	if got := text.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
