//go:build programs

package programs

import (
	"testing"

	"github.com/secret-sync/secret-sync/examples/internal/podtest"
)

func TestMain(m *testing.M) { podtest.Main(m) }
