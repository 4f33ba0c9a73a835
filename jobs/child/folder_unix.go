//go:build unix

package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	noWait   = syscall.O_NONBLOCK // opening a named pipe waits for its other end
	noFollow = syscall.O_NOFOLLOW | noWait
)

func isLink(err error) bool { return errors.Is(err, syscall.ELOOP) }

func isOwn(info fs.FileInfo) bool { return info.Mode().IsRegular() && int(uidOf(info)) == os.Geteuid() }

func uidOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

// othersWrite reports whether users besides the owner and root may write the folder.
func othersWrite(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	return mode&0o002 != 0 || mode&0o020 != 0 && info.Sys().(*syscall.Stat_t).Gid != 0
}

// checkFolder returns the data folder's path, for root without links in it.
func checkFolder(dir string) (string, error) {
	me := uint32(os.Geteuid())
	if me == 0 {
		safe, err := checkWay(dir)
		if err != nil {
			return "", err
		}
		dir = safe
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, fs.ErrNotExist
	case err != nil:
		return "", UnusableFolder(dir, err)
	case !info.IsDir():
		return "", UnusableFolder(dir, syscall.ENOTDIR)
	case uidOf(info) != me:
		return "", fmt.Errorf("the data folder %s belongs to the user %s: run Warren as that user, or set WARREN_DATA to another folder",
			dir, userName(uidOf(info)))
	case othersWrite(info):
		return "", fmt.Errorf("other users can write the data folder %s: run `chmod go-w %s`, or set WARREN_DATA to another folder",
			dir, dir)
	}
	return dir, nil
}

// maxLinks is what Linux follows on the way to a file.
const maxLinks = 40

// checkWay follows the path as the system does and returns it without links. It refuses a way on which another user than root could
// put something else in the place of a folder: what root keeps there would be that user's to choose.
func checkWay(dir string) (string, error) {
	at, rest := "/", parts(dir)
	for links := 0; ; {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return filepath.Join(append([]string{at}, rest...)...), nil // root makes what is missing
		}
		if err != nil {
			return "", UnusableFolder(dir, err)
		}
		isLink := info.Mode()&fs.ModeSymlink != 0
		if len(rest) == 0 && !isLink {
			return at, nil // of the data folder itself more is demanded
		}
		if uidOf(info) != 0 {
			return "", fmt.Errorf("root cannot keep its data in %s, because %s belongs to the user %s, who could replace it: run Warren "+
				"as that user, or set WARREN_DATA to a folder such as /var/lib/warren", dir, at, userName(uidOf(info)))
		}
		if !isLink && othersWrite(info) && info.Mode()&fs.ModeSticky == 0 {
			return "", fmt.Errorf("root cannot keep its data in %s, because others can write %s and could replace it: run "+
				"`chmod go-w %s`, or set WARREN_DATA to a folder such as /var/lib/warren", dir, at, at)
		}
		if isLink {
			target, err := os.Readlink(at)
			if links++; err != nil || links > maxLinks {
				return "", UnusableFolder(dir, errors.Join(err, syscall.ELOOP))
			}
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(parts(target), rest...)
		}
		if len(rest) > 0 {
			at, rest = filepath.Join(at, rest[0]), rest[1:]
		}
	}
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// takeBack makes the folder root's own, if this is root, so that from now on nobody else puts anything there. Others may pass
// through it, to the given folders. Only a folder in which nothing wrong was found gets that mode.
func takeBack(path string, given []string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	folder, err := openFolder(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	const complete = 0o711
	if info, err := folder.Stat(); err != nil || uidOf(info) == 0 && info.Mode().Perm() == complete {
		return err
	}
	if err := errors.Join(folder.Chown(0, 0), folder.Chmod(0o700)); err != nil {
		return err
	}
	entries, err := folder.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		at := filepath.Join(path, entry.Name())
		if slices.Contains(given, entry.Name()) && !entry.IsDir() {
			return notFolder(at)
		}
		if info.Mode().IsRegular() && uidOf(info) == 0 && info.Sys().(*syscall.Stat_t).Nlink > 1 {
			return fmt.Errorf("%s is another file of root's by a second name (a hard link): remove it", at)
		}
	}
	return folder.Chmod(complete)
}

// giveTree changes what it has opened or what is in the folder, never what a link points to. The folder itself comes last: until
// then nobody else can enter it, and one that has been given away is complete.
func giveTree(path string, user *User) error {
	folder, err := openFolder(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	info, err := folder.Stat()
	if err != nil || uidOf(info) == user.UID {
		return err
	}
	if err := folder.Chmod(0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return root.Lchown(name, int(user.UID), int(user.GID))
	})
	return errors.Join(err, folder.Chown(int(user.UID), int(user.GID)))
}

func openFolder(path string) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if isLink(err) || errors.Is(err, syscall.ENOTDIR) {
		return nil, notFolder(path)
	}
	return folder, err
}

func notFolder(path string) error {
	return fmt.Errorf("%s is a link, or not a folder: put the folder itself there, or set WARREN_DATA to another one", path)
}
