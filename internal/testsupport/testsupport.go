// Package testsupport contains the helpers shared by the tests of several packages: a log
// buffer, polling, checks of errors, and the search for Secret values in output.
//
// Tests of all modules import it. It knows nothing about Secrets, volumes or Kubernetes.
package testsupport

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Patience is the time limit of a test for an operation of a few milliseconds. It is long, so
// a busy machine does not fail the test.
const Patience = 20 * time.Second

const interval = 5 * time.Millisecond // between two polls

// Eventually is EventuallyWithin with the limit Patience.
func Eventually(t testing.TB, condition string, check func() error) {
	t.Helper()
	EventuallyWithin(t, Patience, condition, check)
}

// EventuallyTrue is EventuallyWithin for a check without a reason.
func EventuallyTrue(t testing.TB, limit time.Duration, condition string, check func() bool) {
	t.Helper()
	EventuallyWithin(t, limit, condition, func() error {
		if check() {
			return nil
		}
		return errors.New("not true")
	})
}

// EventuallyWithin polls check until it returns nil. It fails the test with the last error if
// this takes longer than limit. The condition completes "waiting for".
func EventuallyWithin(t testing.TB, limit time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(interval) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", limit, condition, err)
		}
	}
}

// Throughout polls check for the given time and fails the test at the first error. It shows
// that a forbidden state does not occur.
func Throughout(t testing.TB, duration time.Duration, condition string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(duration); time.Now().Before(deadline); time.Sleep(interval) {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
	}
}

// WantError fails the test if err is nil or if its text lacks any of the parts.
func WantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want an error with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}

// WantNoLeak fails the test if text contains any of the values, also as base64, hexadecimal or a
// Go byte slice. The values must have at least 6 bytes, because fewer could occur by chance.
func WantNoLeak(t testing.TB, output, text string, values ...string) {
	t.Helper()
	for _, value := range values {
		if len(value) < 6 {
			t.Fatalf("value %q is too short to search for", value)
		}
		encoded := base64.RawStdEncoding.EncodeToString([]byte(value))
		encoded = encoded[:len(value)/3*4] // the last characters depend on the bytes after the value
		hexadecimal := hex.EncodeToString([]byte(value))
		slice := strings.Trim(fmt.Sprint([]byte(value)), "[]")
		for _, form := range []string{value, encoded, hexadecimal, strings.ToUpper(hexadecimal), slice} {
			if strings.Contains(text, form) {
				t.Errorf("%s contains a Secret value as %q", output, form)
			}
		}
	}
}

// ReadFile returns the text of a file.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// WriteFile writes a file. Only its owner can read it.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// MemoryDir returns a new directory on a memory file system, like the volume of a Pod, or a
// temporary directory if the machine lacks /dev/shm. It is removed when the test ends.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "secret-sync-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// FreeAddr returns a loopback address on which nothing listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
