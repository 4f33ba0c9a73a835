package local

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/warrenjobs/warren/jobs/child"
)

// folder is DIR/postgres: data, password and log of one server.
type folder struct{ path string }

func openFolder(dir string) (folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return folder{}, fmt.Errorf("find the data folder: %w", err)
	}
	f := folder{filepath.Join(dir, "postgres")}
	// The server may run as another user, who has to pass through dir.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return folder{}, fmt.Errorf("make the data folder: %w", err)
	}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return folder{}, fmt.Errorf("make the data folder: %w", err)
	}
	return f, nil
}

func (f folder) data() string { return filepath.Join(f.path, "data") }
func (f folder) log() string  { return filepath.Join(f.path, "log") }

// password returns the password, which is made at the first start and kept beside the data.
func (f folder) password() (string, error) {
	return child.Secret(filepath.Join(f.path, "password"))
}
