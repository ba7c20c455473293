//go:build programs

package monitoring

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/test/harness/childprocess"
	st "github.com/secret-sync/secret-sync/test/harness/sidecartest"
	"github.com/secret-sync/secret-sync/test/tools/dashboard"
)

var (
	picture = flag.String("picture", "", "the SVG file of TestDashboard_everyPanelHasData")
	length  = flag.Duration("for", 0, "for this long, with one state after the other")
)

const scrapeInterval = time.Second

// TestDashboard_everyPanelHasData: each query of each panel returns a value other than 0.
// A real Prometheus scrapes a sidecar in each state.
func TestDashboard_everyPanelHasData(t *testing.T) {
	t.Parallel()
	board, err := dashboard.Read(folder + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fleet := newFleet(t)
	server := startPrometheus(t, fleet)
	span := func() dashboard.Range {
		return dashboard.Range{
			From: began.Add(2 * time.Second),
			To:   time.Now(),
			Step: scrapeInterval,
			Rate: 4 * scrapeInterval,
		}
	}
	live(t, fleet, func() error { return allHaveData(board, server, span()) })
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		if got, err := v.Choices(server, span()); err != nil ||
			len(got) != map[string]int{"namespace": 1, "pod": len(fleet)}[v.Name] ||
			got[0] == "" {
			t.Errorf("variable %s: %q, %v, want the namespace and each Pod", v.Name, got, err)
		}
	}
	if *picture != "" {
		draw(t, board, server, span())
	}
}

// allHaveData returns an error for every panel without data.
func allHaveData(board dashboard.Dashboard, server dashboard.Server, r dashboard.Range) (err error) {
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			one := p
			one.Targets = []dashboard.Target{target}
			err = errors.Join(err, hasData(one, server, r))
		}
	}
	return err
}

// hasData returns an error if the panel would be empty.
func hasData(p dashboard.Panel, server dashboard.Server, r dashboard.Range) error {
	answer, err := p.Ask(server, r)
	if err != nil {
		return err
	}
	for _, series := range answer {
		for _, point := range series.Points {
			if point.Value > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%s: %d series, none above 0", p.Targets[0].Expr, len(answer))
}

// newFleet starts a sidecar for each state.
func newFleet(t *testing.T) (fleet []*sidecar) {
	for range states {
		fleet = append(fleet, newSidecar(t))
	}
	return fleet
}

// live brings the sidecars into their states in sequence. It keeps each sidecar in its
// state until the time is over and done returns nil.
func live(t *testing.T, fleet []*sidecar, done func() error) {
	t.Helper()
	began := time.Now()
	for step := 0; ; step++ {
		for i, s := range fleet {
			begins := time.Duration(i) * *length / time.Duration(len(fleet)+1)
			switch state := states[i]; {
			case step < 2 || time.Since(began) < begins:
				if step%8 == i || step < 2 {
					s.rotate()
				}
			case !s.begun:
				s.begun = true
				state.begin(s)
			case state.again != nil && step%4 == 0:
				state.again(s)
			}
		}
		<-time.After(scrapeInterval)
		err := done()
		if over := time.Since(began) - *length; over > 0 && err == nil {
			return
		} else if over > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// startPrometheus starts a Prometheus that scrapes the fleet.
func startPrometheus(t *testing.T, fleet []*sidecar) dashboard.Server {
	t.Helper()
	var targets []any
	for i, s := range fleet {
		targets = append(targets, map[string]any{"targets": []string{s.addr}, "labels": map[string]string{
			"namespace": "shop", "pod": fmt.Sprintf("app-%d", i+1), "container": "secret-sync",
		}})
	}
	config, err := json.Marshal(map[string]any{
		"global": map[string]string{
			"scrape_interval": scrapeInterval.String(),
			"scrape_timeout":  scrapeInterval.String(),
		},
		"scrape_configs": []any{map[string]any{"job_name": "secret-sync", "static_configs": targets}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, config, 0o644); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	addr, log := st.OwnAddr(), &testsupport.Log{}
	cmd := exec.Command(program(t, "prometheus"), "--config.file="+path,
		"--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := childprocess.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	server := "http://" + addr
	testsupport.Eventually(t, "Prometheus is ready", func() error {
		r, err := http.Get(server + "/-/ready")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, log.Tail(5))
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", r.Status)
		}
		return nil
	})
	return dashboard.Server(server)
}

func draw(t *testing.T, board dashboard.Dashboard, server dashboard.Server, r dashboard.Range) {
	t.Helper()
	var answers [][]dashboard.Series
	for _, p := range board.Panels {
		answer, err := p.Ask(server, r)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	note := fmt.Sprintf("Drawn from the dashboard's queries, but not by Grafana: "+
		"%d sidecars, one after the other in each state of the alerts.", len(states))
	if err := os.WriteFile(*picture, []byte(dashboard.Draw(board, answers, r, note)), 0o644); err != nil {
		t.Fatal(err)
	}
}
