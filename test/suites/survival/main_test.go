//go:build programs

package survival

import (
	"testing"

	"github.com/secret-sync/secret-sync/test/harness/podtest"
)

func TestMain(m *testing.M) { podtest.Main(m, 6) }
