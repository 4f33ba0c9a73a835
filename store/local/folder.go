package local

import (
	"path/filepath"

	"github.com/warrenjobs/warren/jobs/child"
)

// folder is DIR/postgres: data, passwords and log of one server. Only data belongs to the server's user.
type folder struct{ path string }

func openFolder(dir string) (folder, error) {
	path, err := child.Folder(dir, "postgres", "data", "docker")
	return folder{path}, err
}

func (f folder) data() string { return filepath.Join(f.path, "data") }
func (f folder) log() string  { return filepath.Join(f.path, "log") }

// password returns the password of the applications' role, which is made at the first start.
func (f folder) password() (string, error) {
	return child.Secret(filepath.Join(f.path, "password"))
}

// superuserPassword is made at the first start with this version of Warren.
func (f folder) superuserPassword() (string, error) {
	return child.Secret(filepath.Join(f.path, "superuser"))
}
