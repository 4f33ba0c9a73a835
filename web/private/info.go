package private

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
)

// Info describes the servers of a data folder, as its owner writes it to servers.json. The URLs
// carry passwords.
type Info struct {
	Owner         child.Identity            `json:"owner"`
	Ready         bool                      `json:"ready"`
	DatabaseURL   string                    `json:"database_url,omitempty"`
	AMQPURL       string                    `json:"amqp_url,omitempty"`
	ManagementURL string                    `json:"management_url,omitempty"`
	Processes     map[string]child.Identity `json:"processes,omitempty"` // postgres, rabbitmq, epmd
	Ports         Ports                     `json:"ports"`               // used again at the next start
}

// Ports are on 127.0.0.1.
type Ports struct {
	Postgres int               `json:"postgres"`
	RabbitMQ rabbitlocal.Ports `json:"rabbitmq"`
}

var (
	errNone     = errors.New("no Warren is running")
	errStarting = errors.New("Warren is still starting its servers")
)

const (
	// ownerWithin is how long Await waits for a warren: a shell that has just started one with & asks at once.
	ownerWithin = 2 * time.Second
	awaitEvery  = 100 * time.Millisecond
)

// Await is Read, but waits while the servers of the folder start, until ctx ends. starting is called once if it has to wait.
func Await(ctx context.Context, dir string, starting func()) (*Info, error) {
	begun := time.Now()
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		info, err := Read(dir)
		switch {
		case errors.Is(err, errStarting):
			starting()
			starting = func() {}
		case !errors.Is(err, errNone) || time.Since(begun) > ownerWithin:
			return info, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// Read returns the servers of the folder's live owner, for commands that use a running warren but
// never start servers. Its errors are sentences for the user.
func Read(dir string) (*Info, error) {
	none := fmt.Errorf("%w in %s: start it there, or name its folder with --data", errNone, dir)
	if _, err := child.CheckDataFolder(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, none
	} else if err != nil {
		return nil, err
	}
	owned, err := isOwned(dir)
	if err != nil {
		return nil, err
	}
	if !owned {
		return nil, none
	}
	info, err := readInfo(dir)
	if err != nil {
		return nil, err
	}
	if !info.Ready {
		return nil, fmt.Errorf("%w in %s: try again in a few seconds", errStarting, dir)
	}
	return &info, nil
}

func readInfo(dir string) (Info, error) {
	text, err := child.ReadOwn(infoFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, nil
	}
	if err != nil {
		return Info{}, fmt.Errorf("read where the private servers are: %w", err)
	}
	var info Info
	if err := json.Unmarshal(text, &info); err != nil {
		return Info{}, fmt.Errorf("read where the private servers are: %s: %w", infoFile(dir), err)
	}
	return info, nil
}

// writeInfo replaces the file atomically: a reader sees the old or the new one.
func writeInfo(dir string, info Info) error {
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("write down where the private servers are: %w", err)
	}
	if err := child.WriteOwn(infoFile(dir), append(text, '\n'), 0o600, nil); err != nil {
		return fmt.Errorf("write down where the private servers are: %w", err)
	}
	return nil
}

func infoFile(dir string) string { return filepath.Join(dir, "servers.json") }
func lockFile(dir string) string { return filepath.Join(dir, "lock") }
