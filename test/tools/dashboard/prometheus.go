package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Server is the address of a Prometheus, as http://127.0.0.1:9090.
type Server string

// Range is the time that a query is about.
type Range struct {
	From, To   time.Time
	Step, Rate time.Duration // Rate is $__rate_interval: four scrapes in Grafana
}

// Series is one answer of a query.
type Series struct {
	Labels map[string]string
	Points []Point
	Name   string // in the legend
}

// Point is a sample.
type Point struct {
	At    time.Time
	Value float64
}

// QueryRange asks for all steps of a time.
func (s Server) QueryRange(expr string, r Range) ([]Series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
		}
	}
	err := s.get("/api/v1/query_range", url.Values{
		"query": {expr}, "start": {r.From.Format(time.RFC3339Nano)}, "end": {r.To.Format(time.RFC3339Nano)},
		"step": {fmt.Sprint(r.Step.Seconds())},
	}, &data)
	if err != nil {
		return nil, err
	}
	var all []Series
	for _, one := range data.Result {
		series := Series{Labels: one.Metric}
		for _, pair := range one.Values {
			at, _ := pair[0].(float64)
			text, _ := pair[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("sample %v: %w", pair, err)
			}
			series.Points = append(series.Points, Point{time.UnixMilli(int64(at * 1000)), value})
		}
		all = append(all, series)
	}
	return all, nil
}

// get asks the HTTP API, and decodes what the answer has as data.
func (s Server) get(path string, query url.Values, data any) error {
	resp, err := http.Get(string(s) + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}
