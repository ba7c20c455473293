// Package dashboard reads a Grafana dashboard, sends the queries of its panels to a
// Prometheus, and draws the results. It expands the queries like Grafana. The drawing is
// simpler than Grafana's.
package dashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Dashboard contains the parts of the JSON used by this package.
type Dashboard struct {
	Title      string
	Templating struct{ List []Variable }
	Panels     []Panel
}

// A Variable is chosen by the user: a data source, or the values of a label.
type Variable struct {
	Name, Type string
	Query      any // for the type "query", an object with the query
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// Choices returns the values from which the user can choose.
func (v Variable) Choices(server Server, r Range) ([]string, error) {
	query, _ := v.Query.(map[string]any)
	text, _ := query["query"].(string)
	parts := labelValues.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("variable %s: %v is not label_values(SERIES, LABEL)", v.Name, v.Query)
	}
	answer, err := server.QueryRange(allValues.Replace(parts[1]), r)
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", v.Name, err)
	}
	values := map[string]bool{}
	for _, series := range answer {
		values[series.Labels[parts[2]]] = true
	}
	return slices.Sorted(maps.Keys(values)), nil
}

// allValues replaces each variable by allValue from the JSON, which selects every value.
var allValues = strings.NewReplacer("$namespace", ".*", "$pod", ".*")

// A Panel has a place in the grid, which is 24 columns wide.
type Panel struct {
	Title       string
	Description string
	Type        string // stat or timeseries
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []Target
}

// A Target is a query of a panel.
type Target struct{ Expr, LegendFormat string }

// Read reads a dashboard. It ignores unknown fields, because Grafana has many.
func Read(path string) (d Dashboard, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return d, fmt.Errorf("read dashboard %q: %w", path, err)
	}
	return d, nil
}

// Ask runs the queries of a panel with every value of each variable selected.
func (p Panel) Ask(server Server, r Range) ([]Series, error) {
	var series []Series
	for _, t := range p.Targets {
		expr := strings.ReplaceAll(allValues.Replace(t.Expr), "$__rate_interval", seconds(r.Rate))
		answer, err := server.QueryRange(expr, r)
		if err != nil {
			return nil, fmt.Errorf("panel %q, query %s: %w", p.Title, expr, err)
		}
		for i := range answer {
			answer[i].Name = legend(t.LegendFormat, answer[i].Labels)
		}
		slices.SortFunc(answer, func(a, b Series) int { return strings.Compare(a.Name, b.Name) })
		series = append(series, answer...)
	}
	return series, nil
}

// legend inserts labels into the format of a legend.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
