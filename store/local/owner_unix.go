//go:build unix

package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/warrenjobs/warren/jobs/child"
)

// owner returns the user that the server runs as, and gives that user the folder. postgres refuses
// to run as root, so as root it is the user that already owns the data, or the user postgres.
func (c *cluster) owner() (*child.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := c.unprivileged()
	if err != nil {
		return nil, err
	}
	if err := canEnter(filepath.Dir(c.path), u); err != nil {
		return nil, err
	}
	c.user = u
	return u, c.give(c.path)
}

func (c *cluster) unprivileged() (*child.User, error) {
	if info, err := os.Stat(c.data()); err == nil {
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 0 {
			return &child.User{UID: stat.Uid, GID: stat.Gid}, nil
		}
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil,
			errors.New("PostgreSQL refuses to run as root and this machine has no user postgres: make one (useradd --system " +
				"postgres), run as another user, or set DATABASE_URL")
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32) // numbers on every unix
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &child.User{UID: uint32(uid), GID: uint32(gid)}, nil
}

// give makes the server's user the owner of a file.
func (c *cluster) give(path string) error {
	if c.user == nil {
		return nil
	}
	if err := os.Chown(path, int(c.user.UID), int(c.user.GID)); err != nil {
		return fmt.Errorf("give %s to PostgreSQL's user: %w", path, err)
	}
	return nil
}

// canEnter returns nil when the user may pass through every folder down to dir.
func canEnter(dir string, u *child.User) error {
	full, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	at := "/"
	for _, part := range strings.Split(full, "/") {
		at = filepath.Join(at, part)
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("look at the data folder: %w", err)
		}
		if !mayPass(info, u) {
			return fmt.Errorf("as root, PostgreSQL runs as the user %s, who cannot enter %s: run `chmod o+x %s`, or set WARREN_DATA "+
				"to a folder outside of it", userName(u), at, at)
		}
	}
	return nil
}

func mayPass(info os.FileInfo, u *child.User) bool {
	stat := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case u.UID == stat.Uid:
		return mode&0o100 != 0
	case u.GID == stat.Gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

func userName(u *child.User) string {
	id := strconv.FormatUint(uint64(u.UID), 10)
	if account, err := user.LookupId(id); err == nil {
		return account.Username
	}
	return id
}
