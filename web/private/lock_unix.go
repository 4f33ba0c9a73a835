//go:build unix

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/warrenjobs/warren/jobs/child"
)

// tryLock makes this process the owner of the folder until the file is closed or the process ends,
// however it ends. It returns nil if another process is the owner. Children do not inherit the
// lock: Go opens files close-on-exec.
func tryLock(dir string) (*os.File, error) {
	file, err := child.OpenOwn(lockFile(dir), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, child.UnusableFolder(dir, err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", lockFile(dir), err)
}

// isOwned reports whether the folder has an owner, without taking it: if it gets a shared lock
// there is none. That costs a starting process at most one more try.
func isOwned(dir string) (bool, error) {
	file, err := child.OpenOwn(lockFile(dir), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, child.UnusableFolder(dir, err)
	}
	defer file.Close()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return false, fmt.Errorf("look at %s: %w", lockFile(dir), err)
	}
	return err != nil, nil
}
