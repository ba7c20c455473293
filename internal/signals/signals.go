// Package signals catches SIGHUP and SIGPIPE before the program does anything else. It
// imports no package of this module, so Go initializes it early.
package signals

import (
	"os"
	"os/signal"
	"syscall"
)

// HUP receives SIGHUP. It holds a signal until the sidecar is ready to read it.
var HUP = catch(syscall.SIGHUP)

// Nobody reads the channel for SIGPIPE. Without it, a log line to a closed stderr would kill the program. signal.Ignore
// would do the same, but programs that the sidecar starts would inherit it.
var _ = catch(syscall.SIGPIPE)

func catch(s os.Signal) <-chan os.Signal {
	received := make(chan os.Signal, 1)
	signal.Notify(received, s)
	return received
}

// Restore makes both signals end the program again. Commands other than the sidecar call it.
func Restore() { signal.Reset(syscall.SIGHUP, syscall.SIGPIPE) }
