//go:build programs

package programs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const (
	measurementsFile = "testdata/measurements.json"
	pageFile         = "../../../docs/programs.md"
)

// TestPage: docs/programs.md shows the table and the last measurements. After a change of a remark,
// -update -run TestPrograms/none writes the page without new measurements.
func TestPage(t *testing.T) {
	if *update {
		t.Skip("TestPrograms writes the page")
	}
	want := page(t, storedMeasurements(t))
	if got, err := os.ReadFile(pageFile); err != nil || string(got) != want {
		t.Errorf("docs/programs.md differs from the table: run this suite with -update; %v", err)
	}
}

// measured are the measurements of this run, by the name of the subtest.
var measured = struct {
	sync.Mutex
	all map[string]measurement
}{all: map[string]measurement{}}

// record stores the measurement of a successful trial.
func (tr *trial) record(m measurement) {
	if tr.T.Failed() {
		return
	}
	m.Version = version(tr.program.pkg)
	measured.Lock()
	defer measured.Unlock()
	measured.all[key(tr.program, tr.way)] = m
}

func key(p program, w way) string { return p.name + ": " + w.name() }

// updateMeasurements adds the measurements of this run to the stored ones if -update is set.
func updateMeasurements(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	all := storedMeasurements(t)
	kept := map[string]measurement{}
	for _, p := range programs {
		for _, w := range p.ways {
			k := key(p, w)
			if m, ok := measured.all[k]; ok {
				kept[k] = m
			} else if m, ok := all[k]; ok {
				kept[k] = m
			}
		}
	}
	text, err := json.MarshalIndent(kept, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, measurementsFile, string(text)+"\n")
	writeFile(t, pageFile, page(t, kept))
}

func storedMeasurements(t *testing.T) (all map[string]measurement) {
	t.Helper()
	text, err := os.ReadFile(measurementsFile)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	return all
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// upstream matches the version of the program in the version of a Debian package.
var upstream = regexp.MustCompile(`^(?:\d+:)?([^-+~]+)`)

// version returns the version of a Debian package, or "".
func version(pkg string) string {
	if pkg == "" {
		return ""
	}
	out, _ := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	if found := upstream.FindSubmatch(out); found != nil {
		return string(found[1])
	}
	return ""
}

// page returns docs/programs.md.
func page(t *testing.T, all map[string]measurement) string {
	t.Helper()
	template, err := os.ReadFile("testdata/programs.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, p := range programs {
		for i, w := range p.ways {
			m, ok := all[key(p, w)]
			if !ok {
				t.Errorf("no measurement of %s: run the suite with -update", key(p, w))
			}
			name := strings.TrimSpace(p.name + " " + m.Version)
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s |\n", name, w.settings(), w.outcome(m), w.remark)
		}
	}
	return strings.Replace(string(template), "{rows}\n", rows.String(), 1)
}

// outcome describes the result in the page.
func (w way) outcome(m measurement) string {
	switch w.want {
	case reloads, follows, restarts:
		return fmt.Sprintf("%s: %d of 10, %.1f s", w.want, m.Used, m.Median)
	case ends:
		return "**ends**: secret-sync withdraws the success, and stops after two ends"
	case nothing:
		return "**reloads nothing**, although it handles the signal"
	case refused:
		return fmt.Sprintf("secret-sync sends no signal; the error contains %q", w.log)
	default:
		return string(w.want) + ": 10 of 10"
	}
}
