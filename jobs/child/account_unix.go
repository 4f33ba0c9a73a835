//go:build unix

package child

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// For returns the user that runs the server on the data: nil, this process's own, unless that is root. Then it is the owner of the
// data, or for new data the first of a.Users. The error is a sentence that says what to do.
func (a Account) For(data string) (*User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := a.unprivileged(data)
	if err != nil {
		return nil, err
	}
	return u, a.canEnter(filepath.Dir(data), u)
}

func (a Account) unprivileged(data string) (*User, error) {
	if info, err := os.Lstat(data); err == nil && info.IsDir() && uidOf(info) != 0 {
		return &User{UID: uidOf(info), GID: info.Sys().(*syscall.Stat_t).Gid}, nil
	}
	for _, name := range a.Users {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32) // numbers on every unix
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		return &User{UID: uint32(uid), GID: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%s does not run as root and this machine has no user %s: make one (useradd --system %s), run Warren as "+
		"another user, or set %s", a.Server, a.Users[0], a.Users[0], a.URL)
}

// canEnter returns nil when the user may pass through every folder down to dir.
func (a Account) canEnter(dir string, u *User) error {
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
			return fmt.Errorf("as root, %s runs as the user %s, who cannot enter %s: run `chmod o+x %s`, or set WARREN_DATA to a folder "+
				"outside of it", a.Server, u.Name(), at, at)
		}
	}
	return nil
}

func mayPass(info fs.FileInfo, u *User) bool {
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
