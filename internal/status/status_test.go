package status

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// example returns a document with every kind of entry.
func example() *Document {
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	return &Document{
		Format: Format, Namespace: "shop", Pod: "app-1", PodUID: "p", Instance: "i", Volume: "v",
		Generation: 7, Complete: true,
		Secrets: map[string]Secret{
			"db": {Present: true, UID: "u", ResourceVersion: "4711", DataSince: "4700",
				PreviousData: Interval{Since: "12", Until: "34"}, Generation: 6},
			"tls": {Refused: "missing_key"},
			"old": {},
		},
		Targets: []Target{
			{Name: "process", Notified: 7},
			{Name: "webhook", Notified: 6, Pending: true, PendingSince: at, Failures: 3, Error: "HTTP 503"},
		},
		Watches: []Watch{{Name: "secret/db", Up: true, LastContact: at}, {Name: "secret/tls"}},
	}
}

func encode(t *testing.T, document any) string {
	t.Helper()
	var text strings.Builder
	if err := WriteJSON(&text, document); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestParse_rejectsOtherDocuments: another program may listen on the sidecar's port.
func TestParse_rejectsOtherDocuments(t *testing.T) {
	for _, text := range []string{"", "ok", "[]", "{}", `{"format":1}`, `{"format":3}`, `{"format":2`,
		`{"format":2,"targets":[1]}`} {
		if d, err := Parse([]byte(text)); err == nil ||
			!strings.Contains(err.Error(), "not a status document of format 2") {
			t.Errorf("%q: got %+v, %v", text, d, err)
		}
	}
}

// TestParse_requiresFields: a document without a required field, or with null for it, is
// rejected, and the error names the field. An empty list is not a missing field.
func TestParse_requiresFields(t *testing.T) {
	entries := map[string]struct {
		fields string
		entry  func(document map[string]any) map[string]any
	}{
		"": {"format namespace pod podUID instance volume generation complete secrets targets watches",
			func(d map[string]any) map[string]any { return d }},
		"secrets.": {"present uid resourceVersion dataSince previousData generation refused",
			func(d map[string]any) map[string]any {
				return d["secrets"].(map[string]any)["db"].(map[string]any)
			}},
		"secrets.previousData.": {"since until", func(d map[string]any) map[string]any {
			return d["secrets"].(map[string]any)["db"].(map[string]any)["previousData"].(map[string]any)
		}},
		"targets.": {"name notified pending successes failures error",
			func(d map[string]any) map[string]any { return d["targets"].([]any)[1].(map[string]any) }},
		"watches.": {"name up",
			func(d map[string]any) map[string]any { return d["watches"].([]any)[0].(map[string]any) }},
	}
	for prefix, c := range entries {
		for _, field := range strings.Fields(c.fields) {
			for _, null := range []bool{true, false} {
				var document map[string]any
				if err := json.Unmarshal([]byte(encode(t, example())), &document); err != nil {
					t.Fatal(err)
				}
				entry := c.entry(document)
				if _, present := entry[field]; !present {
					t.Fatalf("the document has no %s%s", prefix, field)
				}
				delete(entry, field)
				if null {
					entry[field] = nil
				}
				_, err := Parse([]byte(encode(t, document)))
				want := prefix + field + " is missing"
				if field == "format" {
					want = "its format is 0"
				}
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("without %s%s: got %v, want %q", prefix, field, err, want)
				}
			}
		}
	}
	optional := strings.Replace(encode(t, example()), `"lastContact"`, `"other"`, 1)
	if _, err := Parse([]byte(strings.Replace(optional, `"pendingSince"`, `"another"`, 1))); err != nil {
		t.Errorf("without optional fields: %v", err)
	}
	empty := &Document{Format: Format, Secrets: map[string]Secret{}, Targets: []Target{}, Watches: []Watch{}}
	if _, err := Parse([]byte(encode(t, empty))); err != nil {
		t.Errorf("with empty lists: %v", err)
	}
}

// TestParse_ignoresUnknownFields: a newer sidecar may add fields to the format.
func TestParse_ignoresUnknownFields(t *testing.T) {
	text := strings.Replace(encode(t, example()), `"format": 2`, `"format": 2, "new": {"a": 1}`, 1)
	if d, err := Parse([]byte(text)); err != nil || d.Pod != "app-1" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestParse_roundTrip(t *testing.T) {
	d := example()
	text := encode(t, d)
	for _, want := range []string{
		`"format": 2`, `"namespace": "shop"`, `"pod": "app-1"`, `"podUID": "p"`, `"instance": "i"`, `"volume": "v"`,
		`"generation": 7`, `"complete": true`, `"present": true`, `"uid": "u"`, `"resourceVersion": "4711"`,
		`"dataSince": "4700"`, `"since": "12"`, `"until": "34"`, `"refused": "missing_key"`,
		`"name": "process"`, `"notified": 7`, `"pending": false`, `"failures": 3`, `"error": "HTTP 503"`,
		`"up": true`, `"lastContact": "2026-11-24T08:00:00Z"`, `"pendingSince": "2026-11-24T08:00:00Z"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s:\n%s", want, text)
		}
	}
	if got, err := Parse([]byte(text)); err != nil || got.Secrets["db"] != d.Secrets["db"] || len(got.Targets) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWriteText(t *testing.T) {
	var text strings.Builder
	if err := example().WriteText(&text, time.Date(2026, 11, 24, 8, 1, 30, 0, time.UTC)); err != nil {
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

// TestWriteText_empty: a document without entries contains the heads of the three tables.
func TestWriteText_empty(t *testing.T) {
	var text strings.Builder
	if err := (&Document{}).WriteText(&text, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{"\nSECRET ", "\nTARGET ", "\nWATCH "} {
		if !strings.Contains(text.String(), head) {
			t.Errorf("lacks %q:\n%s", head, text.String())
		}
	}
}

// TestFetch_onlyOK: a redirect is not followed and an error page is no document.
func TestFetch_onlyOK(t *testing.T) {
	for code, want := range map[int]string{http.StatusOK: "", http.StatusFound: "HTTP 302",
		http.StatusNotFound: "HTTP 404"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(r.URL.Path))
		}))
		body, err := Fetch(t.Context(), server.Listener.Addr().String())
		server.Close()
		if want == "" && (err != nil || string(body) != "/status") ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d: got %q, %v, want %q", code, body, err, want)
		}
	}
}
