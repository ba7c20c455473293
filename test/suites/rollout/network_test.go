package rollout

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/sidecartest"
)

// TestMain runs the tests in a network namespace, because the API server's Pod proxy refuses
// addresses of the loopback range. The plugin is built before, in the real network.
func TestMain(m *testing.M) {
	sidecartest.Main(m, sidecartest.Options{
		Parallel: 12, Namespaces: syscall.CLONE_NEWNET, BeforeNamespaces: buildBefore, Prepare: sidecartest.UseNetwork,
	})
}

func buildBefore() error {
	dir, err := os.MkdirTemp("", "secret-sync-rollout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, err = buildPlugin(context.Background(), dir)
	return err
}
