//go:build programs

package servers

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

func TestMain(m *testing.M) { podtest.Main(m, 6) }
