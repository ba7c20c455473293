// Package dashboard reads a Grafana dashboard, asks a Prometheus what its panels ask,
// and draws the answers. It does what Grafana does with the queries, and not what
// Grafana does with the picture: for that there is no Grafana here.
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

// Dashboard is what is read of the JSON.
type Dashboard struct {
	Title      string
	Templating struct{ List []Variable }
	Panels     []Panel
}

// Variable is one that the user chooses: a data source, or a label's values.
type Variable struct {
	Name, Type string
	Query      any // of a type "query": an object with the query
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// Choices are the values that the user can choose from.
func (v Variable) Choices(server Server, r Range) ([]string, error) {
	query, _ := v.Query.(map[string]any)
	text, _ := query["query"].(string)
	parts := labelValues.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("variable %s: %v is not label_values(SERIES, LABEL)", v.Name, v.Query)
	}
	answer, err := server.QueryRange(all.Replace(parts[1]), r)
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", v.Name, err)
	}
	values := map[string]bool{}
	for _, series := range answer {
		values[series.Labels[parts[2]]] = true
	}
	return slices.Sorted(maps.Keys(values)), nil
}

// all chooses all values of each variable, as allValue in the JSON says.
var all = strings.NewReplacer("$namespace", ".*", "$pod", ".*")

// Panel is a panel at its place in the grid, which has 24 columns.
type Panel struct {
	Title       string
	Description string
	Type        string // stat or timeseries
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []Target
}

// Target is a query of a panel.
type Target struct{ Expr, LegendFormat string }

// Read reads a dashboard. A field that is not known is no error: Grafana has many.
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

// Ask runs the queries of a panel, as Grafana does with all of each variable chosen.
func (p Panel) Ask(server Server, r Range) ([]Series, error) {
	var series []Series
	for _, t := range p.Targets {
		expr := strings.ReplaceAll(all.Replace(t.Expr), "$__rate_interval", seconds(r.Rate))
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

// legend puts labels into a legend's format.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
