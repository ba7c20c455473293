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
	Logs  []string      // text in the log line of each state
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
	cutAfter("reset again and again", 1),
	cutAfter("ends in the TLS handshake", 700),
	cutAfter("ends in half of an answer", 1450),
	freeze("frozen", func(r *Route) { r.Wire.Reset(); r.Wire.Thaw() }),
	freeze("frozen and thawed", func(r *Route) { r.Wire.Thaw() }),
	{
		Name:  "another CA",
		Begin: func(r *Route) { r.Gateway.NewCertificate(r.T); r.Wire.Reset() },
		End:   func(r *Route) { r.Gateway.Trust(r.T) },
		Logs:  []string{"no connection", "x509"},
	},
	answer("401", Respond(401, "application/json", Status(401, "Unauthorized"), ""), "Unauthorized"),
	answer("403", Respond(403, "application/json", Status(403, "Forbidden"), ""),
		`resourceNames: ["db"], verbs: [list, watch]`),
	answer("404", Respond(404, "application/json", Status(404, "NotFound"), ""), "NotFound"),
	answer("410", Respond(410, "application/json", Status(410, "Expired"), ""), "Expired"),
	answer("429", Respond(429, "application/json", Status(429, "TooManyRequests"), "1"), "TooManyRequests"),
	answer("500", Respond(500, "application/json", Status(500, "InternalError"), ""), "InternalError"),
	answer("502 of a proxy", Respond(502, "text/plain", "bad gateway", ""), "HTTP 502"),
	answer("503", Respond(503, "application/json", Status(503, "ServiceUnavailable"), "1"), "ServiceUnavailable"),
	answer("HTML", Respond(200, "text/html", "<html>log in", ""), "text/html"),
	answer("half a JSON object", Respond(200, "application/json",
		`{"kind":"SecretList","apiVersion":"v1","items":[`, ""), "application/json"),
	answer("half of the API server's response", Half, "application/json"),
	answer("an empty answer", Respond(200, "application/json", "", ""), "application/json"),
}

// cutAfter ends each connection after this many bytes from the server.
func cutAfter(name string, limit int) Fault {
	return Fault{
		Name:  name,
		Begin: func(r *Route) { r.Wire.Cut(limit) },
		End:   func(r *Route) { r.Wire.Cut(0) },
		Logs:  []string{"no connection"},
	}
}

// freeze stops all traffic until end.
func freeze(name string, end func(*Route)) Fault {
	return Fault{
		Name:  name,
		Begin: func(r *Route) { r.Wire.Freeze() },
		End:   end,
		Seen:  20 * time.Second,
		Logs:  []string{"no connection"},
	}
}

// answer answers every request with a.
func answer(name string, a Answer, log string) Fault {
	return Fault{
		Name:  name,
		Begin: func(r *Route) { r.Gateway.SetAnswer(a) },
		End:   func(r *Route) { r.Gateway.SetAnswer(nil) },
		Logs:  []string{log},
	}
}

// Status returns a Status object with an error, as the API server writes it.
func Status(code int, reason string) string {
	const format = `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`
	return fmt.Sprintf(format, code, reason, reason)
}
