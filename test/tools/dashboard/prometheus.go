package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Server is the address of a Prometheus, such as http://127.0.0.1:9090.
type Server string

// A Range is the period of a query.
type Range struct {
	From, To   time.Time
	Step, Rate time.Duration // Rate is $__rate_interval: four scrapes in Grafana
}

// A Series is a result of a query.
type Series struct {
	Labels map[string]string
	Points []Point
	Name   string // the name in the legend
}

// A Point is a sample.
type Point struct {
	At    time.Time
	Value float64
}

// QueryRange returns the result of a query for every step of the range.
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
	var allValues []Series
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
		allValues = append(allValues, series)
	}
	return allValues, nil
}

// get sends a request to the HTTP API and decodes the data of the response.
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
