package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are what a Secret holds for a database.
type Credentials struct{ Username, Password string }

// String leaves the password out, so that no log can have it.
func (c Credentials) String() string { return c.Username }

// GoString does so for %#v.
func (c Credentials) GoString() string { return c.Username }

// ReadCredentials reads the files username and password of a Secret in dir.
//
// Both must be of one generation, or a rotation in the middle gives the new user
// with the old password. So DIR/..data, the link that is exchanged at a rotation,
// is followed once, and both files are read below the folder that it pointed to.
// (Reading DIR/username and then DIR/password follows it twice.)
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
	// Many a Secret was made with echo, and has a newline at the end.
	return Credentials{strings.TrimSpace(string(username)), strings.TrimRight(string(password), "\r\n")}, nil
}
