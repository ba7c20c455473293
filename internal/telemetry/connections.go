package telemetry

import (
	"net"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// maxConnections is enough for a kubelet, several Prometheus servers and many waits. Partially
// sent requests on all connections occupy about 1 MiB.
const maxConnections = 64

// connectionLimit returns the permitted number of connections of this process.
func connectionLimit() int {
	var descriptors unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &descriptors); err != nil {
		return maxConnections
	}
	return limitFor(descriptors.Cur)
}

// limitFor reserves seven eighths of the file descriptors for the work of secret-sync.
func limitFor(descriptors uint64) int { return int(min(maxConnections, max(1, descriptors/8))) }

// connections closes the oldest connection when there are too many. New connections are always
// accepted: otherwise, idle connections of somebody else would make the liveness probe fail.
type connections struct {
	limit int
	mu    sync.Mutex
	open  []net.Conn // the connection whose state changed last is the last
}

// changed implements http.Server.ConnState. A connection closed by changed may still change
// its state, and does not count again.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.open, conn)
	if i >= 0 {
		c.open = slices.Delete(c.open, i, i+1)
	}
	if state == http.StateNew || i >= 0 && (state == http.StateActive || state == http.StateIdle) {
		c.open = append(c.open, conn)
	}
	if len(c.open) > c.limit {
		_ = c.open[0].Close()
		c.open = slices.Delete(c.open, 0, 1)
	}
}
