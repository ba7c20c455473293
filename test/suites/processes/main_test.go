//go:build programs

package processes

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

func TestMain(m *testing.M) { podtest.Main(m, 6) }
