package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
)

// patience is how long a postmaster that is shutting down may take.
const patience = 15 * time.Second

// clearStaleLock makes way for a new server. postgres itself replaces a postmaster.pid whose
// process is gone, but gives up where another process has that pid by now, so clearStaleLock
// removes such a file. It waits for a postmaster that still runs on the data.
func (c *cluster) clearStaleLock(ctx context.Context) error {
	pid, err := c.lockHolder()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the lock file of the last server: %w", err)
	}
	holder := child.Identify(pid)
	switch {
	case pid > 0 && !holder.Alive():
		return nil
	case holder.Alive() && c.serves(pid):
		return waitGone(ctx, holder, c.data())
	}
	if err := os.Remove(filepath.Join(c.data(), lockFile)); err != nil {
		return fmt.Errorf("remove the lock file of the last server: %w", err)
	}
	return nil
}

const lockFile = "postmaster.pid"

func (c *cluster) lockHolder() (int, error) {
	text, err := child.ReadGiven(c.data(), lockFile)
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line)) // a torn file has no pid
	return pid, err
}

// serves reports whether the process is a postmaster on this data: a postmaster works inside its
// data folder. Without /proc it assumes so.
func (c *cluster) serves(pid int) bool {
	at, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return !exists("/proc/self")
	}
	data, err := filepath.EvalSymlinks(c.data())
	return err == nil && at == data
}

func waitGone(ctx context.Context, holder child.Identity, data string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for holder.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("another PostgreSQL (process %d) still runs on %s: stop it first", holder.Pid, data)
		case <-tick.C:
		}
	}
	return nil
}
