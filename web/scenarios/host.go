//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/web/private"
)

const (
	startWait = 3 * time.Minute // on a busy machine
	stopWait  = 40 * time.Second
)

// host has the private servers and the programs that all scenarios use.
type host struct {
	dir      string
	programs programs
	servers  *private.Servers
	log      *slog.Logger
}

// programs are where the repository is, and a folder with its programs.
type programs struct{ root, bin string }

func openHost(ctx context.Context, log *slog.Logger) (_ *host, err error) {
	h := &host{log: log}
	if h.dir, err = os.MkdirTemp("", "warren-scenarios-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := os.Chmod(h.dir, 0o711); err != nil { // the servers run as other users when we are root
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	log.Info("building the programs")
	if h.programs, err = build(ctx, filepath.Join(h.dir, "bin")); err != nil {
		return nil, err
	}
	h.servers, err = private.Open(ctx, private.Options{Dir: filepath.Join(h.dir, "data"), Postgres: true, RabbitMQ: true, Log: log})
	return h, err
}

func (h *host) close() {
	if h.servers != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		_ = h.servers.Close(ctx)
	}
	_ = os.RemoveAll(h.dir)
}

// build builds the programs, or takes the warren of WARREN_TEST_BINARY, and finds a Python.
func build(ctx context.Context, bin string) (p programs, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return p, fmt.Errorf("find the repository: %w", err)
	}
	p = programs{root: strings.TrimSpace(string(out)), bin: bin}
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return p, fmt.Errorf("make a folder: %w", err)
	}
	list := []string{"./examples/customers"}
	if ready := os.Getenv("WARREN_TEST_BINARY"); ready == "" {
		list = append(list, "./web/warren")
	} else if err := os.Symlink(ready, filepath.Join(bin, "warren")); err != nil {
		return p, fmt.Errorf("take the program that is there: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", bin + "/"}, list...)...)
	cmd.Dir = p.root
	if said, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build the programs: %w: %s", err, said)
	}
	return p, p.findPython(ctx)
}

// errNoPika means that the programs in Python cannot run.
var errNoPika = errors.New("there is no python3 with pika: apt-get install python3-pika")

// findPython makes bin/python3, if there is a Python with pika. Debian's pika belongs to Debian's python3, which need not be
// the first on PATH.
func (p programs) findPython(ctx context.Context) error {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil || exec.CommandContext(ctx, path, "-c", "import pika").Run() != nil {
			continue
		}
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", path)
		if err := os.WriteFile(filepath.Join(p.bin, "python3"), []byte(script), 0o700); err != nil {
			return fmt.Errorf("make the command python3: %w", err)
		}
		return nil
	}
	return nil
}

// hasPython returns errNoPika if bin/python3 is not there.
func (p programs) hasPython() error {
	if _, err := os.Stat(filepath.Join(p.bin, "python3")); err != nil {
		return errNoPika
	}
	return nil
}

// newWorld makes a database and a virtual host for one scenario.
func (h *host) newWorld(ctx context.Context, number int) (*world, error) {
	name := fmt.Sprintf("scenario-%d", number)
	admin, err := h.servers.AdminURL()
	if err != nil {
		return nil, err
	}
	database, err := createDatabase(ctx, admin, name)
	if err != nil {
		return nil, err
	}
	broker, err := createVHost(ctx, h.servers.ManagementURL(), h.servers.AMQPURL(), name)
	if err != nil {
		return nil, err
	}
	return openWorld(h.programs, filepath.Join(h.dir, name), urls{database, broker, h.servers.ManagementURL()}, h.log)
}

// createDatabase creates a database with Warren's schema and returns its URL.
func createDatabase(ctx context.Context, admin, name string) (string, error) {
	db, err := sql.Open("pgx", admin)
	if err != nil {
		return "", fmt.Errorf("open the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, fmt.Sprintf(`CREATE DATABASE %q`, name)); err != nil {
		return "", fmt.Errorf("create a database: %w", err)
	}
	own, err := withPath(admin, name)
	if err != nil {
		return "", err
	}
	s, err := store.Open(ctx, own)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return own, s.Migrate(ctx)
}

// createVHost creates a virtual host and returns its URL.
func createVHost(ctx context.Context, manage, broker, name string) (string, error) {
	client, err := management.New(manage)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(broker)
	if err != nil {
		return "", fmt.Errorf("read the broker's URL: %w", err)
	}
	if err := client.PutVHost(ctx, name); err != nil {
		return "", fmt.Errorf("create a virtual host: %w", err)
	}
	if err := client.PutPermissions(ctx, name, u.User.Username(), ".*", ".*", ".*"); err != nil {
		return "", fmt.Errorf("create a virtual host: %w", err)
	}
	return withPath(broker, name)
}

func withPath(address, path string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("read a server's URL: %w", err)
	}
	u.Path = "/" + path
	return u.String(), nil
}
