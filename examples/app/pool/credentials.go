package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are the user name and the password of a database user.
type Credentials struct{ Username, Password string }

// String returns the user name alone, which keeps the password out of logs.
func (c Credentials) String() string { return c.Username }

// GoString does the same for %#v.
func (c Credentials) GoString() string { return c.Username }

// ReadCredentials reads the files username and password of the Secret in dir.
//
// Both files must come from the same generation. Otherwise a rotation between the two
// reads combines the new user with the old password. ReadCredentials therefore opens
// DIR/..data, the link that each rotation replaces, a single time and reads both files
// relative to the open directory. Reading DIR/username and DIR/password would follow
// the link twice.
func ReadCredentials(dir string) (Credentials, error) {
	generation, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return Credentials{}, fmt.Errorf("open credentials: %w", err)
	}
	defer generation.Close()
	username, err := generation.ReadFile("username")
	if err != nil {
		return Credentials{}, fmt.Errorf("read credentials: %w", err)
	}
	password, err := generation.ReadFile("password")
	if err != nil {
		return Credentials{}, fmt.Errorf("read credentials: %w", err)
	}
	// Many Secrets are created with echo and end in a newline.
	return Credentials{strings.TrimSpace(string(username)), strings.TrimRight(string(password), "\r\n")}, nil
}
