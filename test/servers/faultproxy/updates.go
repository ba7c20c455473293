package faultproxy

import "net/http"

// UpdatesHeld sends a value to arrived for each update, and forwards the update once resume is closed. It forwards
// everything else at once.
func UpdatesHeld(arrived chan<- struct{}, resume <-chan struct{}) Answer {
	return func(g *Gateway, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			arrived <- struct{}{}
			select {
			case <-resume:
			case <-r.Context().Done():
				return
			}
		}
		g.forward(w, r)
	}
}

// UpdatesUnanswered forwards each update, and sends a value to arrived instead of the response. It forwards everything
// else.
func UpdatesUnanswered(arrived chan<- struct{}) Answer {
	return func(g *Gateway, w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			g.forward(w, r)
			return
		}
		resp, err := g.roundTrip(r)
		if err != nil {
			http.Error(w, "no API server", http.StatusBadGateway)
			return
		}
		resp.Body.Close()
		arrived <- struct{}{}
		<-r.Context().Done()
	}
}
