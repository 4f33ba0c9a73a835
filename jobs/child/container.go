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
	Volume string      // folder of the host, made if missing
	Mount  string      // where the server sees it
	Host   string      // host name inside
	Args   []string    // for the server
	Log    string
	Stop   syscall.Signal // handed on by docker to the server
}

// Docker says whether the docker command and an engine behind it answer.
func Docker(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").Run() == nil
}

// ContainerName is a name that is the same at each start on a folder and
// differs between folders.
func ContainerName(server, folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return "warren-" + server + "-" + hex.EncodeToString(sum[:6])
}

// Start removes what an earlier run left under the same name and runs the
// container in the foreground; its image is fetched first if it is missing.
// The process is docker's client, which hands the stop and the death signal
// on to the server.
func (c Container) Start(ctx context.Context) (*Process, error) {
	if err := os.MkdirAll(c.Volume, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for %s: %w", c.Image, err)
	}
	_ = exec.CommandContext(ctx, "docker", "rm", "--force", c.Name).Run() // mostly there is none
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
