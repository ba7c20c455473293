package writer

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/secret-sync/secret-sync/internal/testsupport"
)

// TestReason_hasARemedy: each class of errors has a reason, and its text names a
// remedy.
func TestReason_hasARemedy(t *testing.T) {
	w := opened(t, testOptions(t, testsupport.MemoryDir(t)))
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

// TestReason_noSymlinks: a file system without symbolic links is no matter of UIDs.
func TestReason_noSymlinks(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		opts, seam := withSeam(testOptions(t, testsupport.MemoryDir(t)))
		w := opened(t, opts)
		seam.reset(func(_ int, c call, do func() error) error {
			if c.op == "Symlink" {
				return errno
			}
			return do()
		})
		_, err := w.Publish(t.Context(), mixed)
		if Reason(err) != "no_symlinks" || !strings.Contains(err.Error(), "emptyDir") {
			t.Errorf("%v: got %s, %v", errno, Reason(err), err)
		}
	}
}
