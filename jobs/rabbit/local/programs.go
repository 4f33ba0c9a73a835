package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// ErrNotInstalled reports that no RabbitMQ was found on this machine.
var ErrNotInstalled = errors.New("RabbitMQ is not installed: " + install() + ", start Docker, or set AMQP_URL")

func install() string {
	if runtime.GOOS == "darwin" {
		return "brew install rabbitmq"
	}
	return "apt-get install rabbitmq-server"
}

// Check returns an error if a Start on dir could not work: ErrNotInstalled if there is no RabbitMQ, another if a part of it is
// missing or the server's user cannot enter dir. Its text is one sentence.
func Check(dir string) error {
	home, err := openFolder(dir)
	if err != nil {
		return err
	}
	_, err = newNode(home, Ports{}, "")
	return err
}

// serverPlaces are searched before PATH for the plain script, because Debian's
// /usr/sbin/rabbitmq-server switches to the user rabbitmq, and loses our environment and signals.
var serverPlaces = []string{
	"/usr/lib/rabbitmq/bin",
	"/usr/lib/rabbitmq/lib/*/sbin",
	"/opt/homebrew/sbin",
	"/opt/homebrew/opt/rabbitmq/sbin",
	"/usr/local/opt/rabbitmq/sbin",
	"/opt/rabbitmq/sbin",
}

var erlangPlaces = []string{
	"/usr/lib/erlang/bin",
	"/usr/lib/erlang/erts-*/bin",
	"/usr/local/lib/erlang/bin",
	"/usr/local/lib/erlang/erts-*/bin",
	"/opt/homebrew/bin",
	"/opt/homebrew/lib/erlang/erts-*/bin",
}

type programs struct{ server, epmd string }

func findPrograms() (programs, error) {
	path := filepath.SplitList(os.Getenv("PATH"))
	server := find("rabbitmq-server", slices.Concat(expand(serverPlaces), path))
	if server == "" {
		return programs{}, ErrNotInstalled
	}
	epmd := find("epmd", slices.Concat(path, expand(erlangPlaces)))
	if epmd == "" {
		return programs{}, fmt.Errorf("%s is here but Erlang's epmd is not: install Erlang, or set AMQP_URL", server)
	}
	return programs{server, epmd}, nil
}

// expand returns the folders that match the patterns, newest first within each pattern.
func expand(globs []string) []string {
	var dirs []string
	for _, glob := range globs {
		matches, _ := filepath.Glob(glob) // the only error is a bad pattern
		slices.Reverse(matches)
		dirs = append(dirs, matches...)
	}
	return dirs
}

func find(program string, dirs []string) string {
	for _, dir := range dirs {
		if file := filepath.Join(dir, program); dir != "" && exists(file) {
			return file
		}
	}
	return ""
}

// searchPath returns PATH followed by the folders in which erl may be.
func searchPath() string {
	return strings.Join(append([]string{os.Getenv("PATH")}, expand(erlangPlaces)...), ":")
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
