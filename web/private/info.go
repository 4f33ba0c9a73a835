package private

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// Read returns the servers of the folder's live owner, for commands that use a running warren but
// never start servers. Its errors are sentences for the user.
func Read(dir string) (*Info, error) {
	owned, err := isOwned(dir)
	if err != nil {
		return nil, err
	}
	if !owned {
		return nil, fmt.Errorf("no warren runs on %s", dir)
	}
	info, err := readInfo(dir)
	if err != nil {
		return nil, err
	}
	if !info.Ready {
		return nil, fmt.Errorf("the warren on %s is still starting its servers: try again in a few seconds", dir)
	}
	return &info, nil
}

func readInfo(dir string) (Info, error) {
	text, err := os.ReadFile(infoFile(dir))
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
	fresh := infoFile(dir) + ".new"
	if err := os.WriteFile(fresh, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write down where the private servers are: %w", err)
	}
	if err := os.Rename(fresh, infoFile(dir)); err != nil {
		return fmt.Errorf("write down where the private servers are: %w", err)
	}
	return nil
}

func infoFile(dir string) string { return filepath.Join(dir, "servers.json") }
func lockFile(dir string) string { return filepath.Join(dir, "lock") }

// openDataDir creates the folder if it is missing. Other users may pass through it, because as root
// the private PostgreSQL runs as another user, but not list it.
func openDataDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the data folder: %w", err)
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", unusable(dir, err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask
		return "", unusable(dir, err)
	}
	return dir, nil
}

func unusable(dir string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("cannot use the data folder %s (%w): set WARREN_DATA to a folder that this user can write", dir, err)
}
