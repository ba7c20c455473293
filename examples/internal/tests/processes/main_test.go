//go:build programs

package processes

import (
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/podtest"
)

func TestMain(m *testing.M) { podtest.Main(m) }
