package child

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// OpenOwn opens a file of this process's user. It follows no link, and refuses what is not a regular file or belongs to another
// user, so that nobody else has put it there. The flags must not include os.O_TRUNC, which would come before the check.
func OpenOwn(path string, flag int, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag|noFollow, mode)
	if isLink(err) {
		return nil, notOwn(path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !isOwn(info) {
		err = notOwn(path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func notOwn(path string) error {
	return fmt.Errorf("%s is a link, or not a file of this user: remove it and try again", path)
}

// ReadOwn reads a file that OpenOwn would open.
func ReadOwn(path string) ([]byte, error) {
	file, err := OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// WriteOwn replaces a file atomically by a new one, whatever had its name: a reader sees the old or the new text. The file
// belongs to the user, or to this process's own if that is nil.
func WriteOwn(path string, text []byte, mode fs.FileMode, user *User) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) // never follows a link
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil && user != nil {
		err = file.Chown(int(user.UID), int(user.GID))
	}
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// maxGiven is more than is read of any file that a server writes.
const maxGiven = 4 << 10

// ReadGiven reads the beginning of a file below a folder that a server's user can write: it leaves the folder by no link, and
// reads regular files only, so that it waits for nobody.
func ReadGiven(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s in %s is not a file: remove it", name, dir)
	}
	return io.ReadAll(io.LimitReader(file, maxGiven))
}
