package faultproxy

import (
	"fmt"
	"time"
)

// A Fault is a failure between a sidecar and a healthy API server.
type Fault struct {
	Name  string
	Begin func(*Route)
	End   func(*Route)
	Logs  []string      // text that the log line of each state contains
	Tries int           // the number of attempts during the fault; 0 means three
	Seen  time.Duration // the time limit for noticing the fault; 0 means at once
}

// Faults lists every fault.
var Faults = []Fault{
	{
		Name:  "refused",
		Begin: func(r *Route) { r.Wire.Refuse() },
		End:   func(r *Route) { r.Wire.Listen() },
		Logs:  []string{"no connection"},
		Tries: 7,
	},
	{
		Name:  "reset again and again",
		Begin: func(r *Route) { r.Wire.Cut(1) },
		End:   func(r *Route) { r.Wire.Cut(0) },
		Logs:  []string{"no connection"},
	},
	{
		Name:  "ends in the TLS handshake",
		Begin: func(r *Route) { r.Wire.Cut(700) },
		End:   func(r *Route) { r.Wire.Cut(0) },
		Logs:  []string{"no connection"},
	},
	{
		Name:  "ends in half of an answer",
		Begin: func(r *Route) { r.Wire.Cut(1450) },
		End:   func(r *Route) { r.Wire.Cut(0) },
		Logs:  []string{"no connection"},
	},
	{
		Name:  "frozen",
		Begin: func(r *Route) { r.Wire.Freeze() },
		End:   func(r *Route) { r.Wire.Reset(); r.Wire.Thaw() },
		Seen:  20 * time.Second,
		Logs:  []string{"no connection"},
	},
	{
		Name:  "frozen and thawed",
		Begin: func(r *Route) { r.Wire.Freeze() },
		End:   func(r *Route) { r.Wire.Thaw() },
		Seen:  20 * time.Second,
		Logs:  []string{"no connection"},
	},
	{
		Name:  "another CA",
		Begin: func(r *Route) { r.Gateway.NewCertificate(r.T); r.Wire.Reset() },
		End:   func(r *Route) { r.Gateway.Trust(r.T) },
		Logs:  []string{"no connection", "x509"},
	},
	{
		Name:  "401",
		Begin: answers(Respond(401, "application/json", Status(401, "Unauthorized"), "")),
		End:   passes,
		Logs:  []string{"Unauthorized"},
	},
	{
		Name:  "403",
		Begin: answers(Respond(403, "application/json", Status(403, "Forbidden"), "")),
		End:   passes,
		Logs:  []string{`resourceNames: ["db"], verbs: [list, watch]`},
	},
	{
		Name:  "404",
		Begin: answers(Respond(404, "application/json", Status(404, "NotFound"), "")),
		End:   passes,
		Logs:  []string{"NotFound"},
	},
	{
		Name:  "410",
		Begin: answers(Respond(410, "application/json", Status(410, "Expired"), "")),
		End:   passes,
		Logs:  []string{"Expired"},
	},
	{
		Name:  "429",
		Begin: answers(Respond(429, "application/json", Status(429, "TooManyRequests"), "1")),
		End:   passes,
		Logs:  []string{"TooManyRequests"},
	},
	{
		Name:  "500",
		Begin: answers(Respond(500, "application/json", Status(500, "InternalError"), "")),
		End:   passes,
		Logs:  []string{"InternalError"},
	},
	{
		Name:  "502 of a proxy",
		Begin: answers(Respond(502, "text/plain", "bad gateway", "")),
		End:   passes,
		Logs:  []string{"HTTP 502"},
	},
	{
		Name:  "503",
		Begin: answers(Respond(503, "application/json", Status(503, "ServiceUnavailable"), "1")),
		End:   passes,
		Logs:  []string{"ServiceUnavailable"},
	},
	{
		Name:  "HTML",
		Begin: answers(Respond(200, "text/html", "<html>log in", "")),
		End:   passes,
		Logs:  []string{"text/html"},
	},
	{
		Name:  "half a JSON object",
		Begin: answers(Respond(200, "application/json", `{"kind":"SecretList","apiVersion":"v1","items":[`, "")),
		End:   passes,
		Logs:  []string{"application/json"},
	},
	{Name: "half of what the API server answers", Begin: answers(Half), End: passes, Logs: []string{"application/json"}},
	{
		Name:  "an empty answer",
		Begin: answers(Respond(200, "application/json", "", "")),
		End:   passes,
		Logs:  []string{"application/json"},
	},
}

// Status returns a Status object with an error, as the API server writes it.
func Status(code int, reason string) string {
	return fmt.Sprintf(
		`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`,
		code,
		reason,
		reason,
	)
}

func answers(a Answer) func(*Route) { return func(r *Route) { r.Gateway.SetAnswer(a) } }
func passes(r *Route)               { r.Gateway.SetAnswer(nil) }
