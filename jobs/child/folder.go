package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DataFolder returns the absolute path of the data folder, which it makes if it is missing. Servers that run as another user pass
// through it, so others may enter it, but not list it. It refuses, with what to do about it, a folder that another user could change.
func DataFolder(dir string) (string, error) {
	dir, err := CheckDataFolder(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", UnusableFolder(dir, err)
	}
	if dir, err = CheckDataFolder(dir); err != nil { // another user may have been faster
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask
		return "", UnusableFolder(dir, err)
	}
	return dir, nil
}

// CheckDataFolder is DataFolder for those who only read: where the folder is missing it makes none, and its error is fs.ErrNotExist.
func CheckDataFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the data folder: %w", err)
	}
	return checkFolder(dir)
}

// UnusableFolder returns the error of a data folder that this process's user cannot use.
func UnusableFolder(dir string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("cannot use the data folder %s (%w): set WARREN_DATA to a folder that this user can write", dir, err)
}

// Folder returns DIR/NAME, the folder of one server, which it makes if it is missing. This process's user keeps it, with the log
// and the secrets of the server in it; the server's user gets only those of its folders that are named. Root takes back a folder
// that a Warren before gave away, and then refuses links in the place of the named folders.
func Folder(dir, name string, given ...string) (string, error) {
	dir, err := DataFolder(dir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", UnusableFolder(dir, err)
	}
	if err := takeBack(path, given); err != nil {
		return "", fmt.Errorf("keep the folder of a server: %w", err)
	}
	return path, nil
}

// Give makes the folder, if it is missing, and makes it and all that is in it the user's alone; nil means this process's own.
// Its parent must be a folder that Folder returned.
func Give(path string, user *User) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the data folder of a server: %w", err)
	}
	if user == nil {
		return nil
	}
	if err := giveTree(path, user); err != nil {
		return fmt.Errorf("give %s to the user %s: %w", path, user.Name(), err)
	}
	return nil
}
