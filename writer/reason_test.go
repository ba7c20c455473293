package writer

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestReason_hasARemedy: each class of errors has a reason, and its text names a
// remedy.
func TestReason_hasARemedy(t *testing.T) {
	w := opened(t, testOptions(t, memoryDir(t)))
	for errno, want := range map[syscall.Errno][2]string{
		syscall.ENOSPC: {"no_space", "sizeLimit"}, syscall.EDQUOT: {"no_space", "quota"},
		syscall.EROFS: {"read_only", "volumeMount"}, syscall.EACCES: {"permission", "UID"},
		syscall.EMFILE: {"too_many_files", "ulimit"}, syscall.ENFILE: {"too_many_files", "ulimit"},
		syscall.EIO: {"io", "disk"}, syscall.ENOTDIR: {"other", ""},
	} {
		err := w.vol.Explain(fmt.Errorf("publish: %w", errno))
		if Reason(err) != want[0] || !strings.Contains(err.Error(), want[1]) {
			t.Errorf("%v: got %s, %v", errno, Reason(err), err)
		}
	}
}
