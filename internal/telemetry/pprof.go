package telemetry

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"
)

// PprofHandler serves what `go tool pprof` asks for below /debug/pprof/: the
// CPU profile and the profiles of runtime/pprof. It is a page of code because
// net/http/pprof makes the program a quarter of a megabyte larger.
func PprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "profile?seconds=30")
		for _, p := range pprof.Profiles() {
			fmt.Fprintf(w, "%s?debug=1 (%d)\n", p.Name(), p.Count())
		}
	})
	mux.HandleFunc("GET /debug/pprof/profile", cpuProfile)
	mux.HandleFunc("GET /debug/pprof/{name}", namedProfile)
	return mux
}

// cpuProfile takes ?seconds=N, 30 if it is not given, at most 60: less than the
// server's write timeout. There can be one at a time. It ends with its request.
func cpuProfile(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(cmp.Or(r.FormValue("seconds"), "30"))
	if err != nil || seconds < 1 || seconds > 60 {
		http.Error(w, "seconds is not a number from 1 to 60", http.StatusBadRequest)
		return
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	defer pprof.StopCPUProfile()
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
	case <-r.Context().Done():
	}
}

// namedProfile takes ?debug=1 for text, and ?gc=1 for a collection before a
// heap profile.
func namedProfile(w http.ResponseWriter, r *http.Request) {
	p := pprof.Lookup(r.PathValue("name"))
	if p == nil {
		http.NotFound(w, r)
		return
	}
	if r.FormValue("gc") == "1" {
		runtime.GC()
	}
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	_ = p.WriteTo(w, debug)
}
