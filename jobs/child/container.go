package child

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Container is a server run by Docker instead of an installed program.
type Container struct {
	Name   string
	Image  string
	Ports  map[int]int // port on 127.0.0.1 -> port inside
	Env    []string    // NAME=value; the values stay out of the command line
	Volume string      // directory of the host, created if missing, in a folder that Folder returned
	Mount  string      // its path in the container
	Host   string      // host name inside
	Args   []string    // for the server
	Log    string
	Stop   syscall.Signal // forwarded by docker to the server
}

// Docker reports whether the docker command works and reaches an engine. It blocks for at most 5 s.
func Docker(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").Run() == nil
}

// ContainerName returns a name that depends only on the server and its data folder: it is the
// same at each start, and differs between folders.
func ContainerName(server, folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return "warren-" + server + "-" + hex.EncodeToString(sum[:6])
}

// Start removes any container that an earlier run left under the same name and runs the
// container in the foreground; docker first pulls a missing image. The process is docker's
// client, which forwards the stop and the death signal to the server.
func (c Container) Start(ctx context.Context) (*Process, error) {
	if err := os.MkdirAll(c.Volume, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for %s: %w", c.Image, err)
	}
	_ = exec.CommandContext(ctx, "docker", "rm", "--force", c.Name).Run() // usually there is none
	return Start(Spec{
		Path: "docker", Args: c.arguments(), Env: append(os.Environ(), c.Env...), Log: c.Log,
		Stop: c.Stop, Death: c.Stop,
	})
}

func (c Container) arguments() []string {
	args := []string{"run", "--rm", "--name", c.Name, "--hostname", c.Host, "--volume", c.Volume + ":" + c.Mount}
	for outside, inside := range c.Ports {
		args = append(args, "--publish", fmt.Sprintf("127.0.0.1:%d:%d", outside, inside))
	}
	for _, variable := range c.Env {
		name, _, _ := strings.Cut(variable, "=")
		args = append(args, "--env", name)
	}
	return append(append(args, c.Image), c.Args...)
}
