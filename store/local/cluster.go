package local

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/warrenjobs/warren/jobs/child"
)

// cluster is a folder with the programs and the user that can serve it.
type cluster struct {
	folder
	binaries string
	user     *child.User // nil: the current user
}

var account = child.Account{Server: "PostgreSQL", Users: []string{"postgres"}, URL: "DATABASE_URL"}

func newCluster(home folder, binaries string) (*cluster, error) {
	user, err := account.For(home.data())
	if err != nil {
		return nil, err
	}
	return &cluster{folder: home, binaries: binaries, user: user}, nil
}

// ready prepares the data for the server: it clears a stale lock, or creates a new cluster with that password of its superuser.
func (c *cluster) ready(ctx context.Context, password string, log *slog.Logger) error {
	if exists(c.data(), "PG_VERSION") {
		return c.clearStaleLock(ctx)
	}
	if log != nil {
		log.Info("making a private PostgreSQL cluster", "dir", c.data())
	}
	return c.initialise(ctx, password)
}

// initialise creates a cluster beside its final place and moves it there when it is complete, so
// that a process that dies on the way leaves nothing that looks like a cluster. The place is new
// each time: processes of a killed initdb may write to the last one for another moment.
func (c *cluster) initialise(ctx context.Context, password string) error {
	leftovers, _ := filepath.Glob(filepath.Join(c.path, "new-*")) // the only error is a bad pattern
	for _, dir := range leftovers {
		_ = os.RemoveAll(dir) // else the next first start removes it
	}
	fresh, err := os.MkdirTemp(c.path, "new-")
	if err != nil {
		return fmt.Errorf("make a folder for the cluster: %w", err)
	}
	defer os.RemoveAll(fresh) // already moved when all went well
	if err := child.Give(fresh, c.user); err != nil {
		return err
	}
	if err := c.initdb(ctx, fresh, password); err != nil {
		return fmt.Errorf("make a cluster: %w", err)
	}
	if err := os.Rename(fresh, c.data()); err != nil {
		return fmt.Errorf("keep the new cluster: %w", err)
	}
	return nil
}

func (c *cluster) initdb(ctx context.Context, data, password string) error {
	return child.Run(ctx, child.Spec{
		Path: filepath.Join(c.binaries, "initdb"),
		Args: []string{
			"--pgdata", data, "--username", superuser, "--pwfile", "/dev/stdin", "--auth", "scram-sha-256",
			"--encoding", "UTF8", "--locale", "C", "--data-checksums",
		},
		Env: environment(), Dir: c.path, Log: c.log(), User: c.user, Input: password + "\n",
	})
}

// server returns the command that runs the server. It has all settings, so that a cluster created
// by an older warren gets the newer ones.
func (c *cluster) server(port int) child.Spec {
	args := []string{"-D", c.data()}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=",
		"max_connections=200",
		"fsync=on",
		"synchronous_commit=on",
		"logging_collector=off",
		"log_destination=stderr",
		"log_checkpoints=off",
		"timezone=UTC",
		"log_timezone=UTC",
	} {
		args = append(args, "-c", setting)
	}
	return child.Spec{
		Path: filepath.Join(c.binaries, "postgres"), Args: args, Env: environment(),
		Dir: c.data(), Log: c.log(), User: c.user,
		Stop: fast, Death: fast, // SIGTERM would wait for all clients to leave
	}
}

// environment returns PATH and a fixed locale, without the caller's PG* variables.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}
