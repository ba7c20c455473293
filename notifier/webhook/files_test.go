package webhook

import (
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestNotify_tooManyFiles: without a free descriptor, the error names the remedy, for a connection
// and for a token file.
func TestNotify_tooManyFiles(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 3, Max: limit.Max}
	for _, target := range []Target{{}, {TokenFile: "/dev/null"}} {
		w := newWebhook(t, "http://127.0.0.1:1/", target)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		err := w.Notify(t.Context(), someChanges)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		testsupport.WantError(t, err, "webhook http://127.0.0.1:1/", "too many open files", "ulimit -n")
	}
}
