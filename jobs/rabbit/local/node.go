package local

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/warrenjobs/warren/jobs/child"
)

// folder is the path of DIR/rabbitmq: data, configuration, secrets and log of one server.
type folder struct{ path string }

func openFolder(dir string) (folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return folder{}, fmt.Errorf("find the data folder: %w", err)
	}
	f := folder{filepath.Join(dir, "rabbitmq")}
	// A private PostgreSQL may run beside it as another user, who must be able to enter dir.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return folder{}, fmt.Errorf("make the data folder: %w", err)
	}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return folder{}, fmt.Errorf("make the data folder: %w", err)
	}
	return f, nil
}

func (f folder) at(name ...string) string { return filepath.Join(append([]string{f.path}, name...)...) }
func (f folder) log() string              { return f.at("log") }
func (f folder) isNew() bool              { return !exists(f.at("mnesia")) && !f.usesContainer() }

// password returns the password, which is generated at the first start and stored beside the data.
func (f folder) password() (string, error) { return child.Secret(f.at("password")) }

// node is an installed RabbitMQ with its folder, ports and password.
type node struct {
	folder
	programs
	ports    Ports
	password string
	member   *member // nil: not part of a cluster
}

// configure writes the broker's configuration files, from scratch at each start.
func (n node) configure() error {
	for _, dir := range []string{"home", "mnesia", "logs"} {
		if err := os.MkdirAll(n.at(dir), 0o700); err != nil {
			return fmt.Errorf("make the folders of the broker: %w", err)
		}
	}
	if err := n.cookie(); err != nil {
		return err
	}
	files := map[string]string{
		"enabled_plugins": "[rabbitmq_management].\n",
		"rabbitmq.conf":   n.settings(),
	}
	for file, text := range files {
		if err := os.WriteFile(n.at(file), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the configuration of the broker: %w", err)
		}
	}
	return nil
}

// cookie creates the cookie by which Erlang nodes authenticate each other, with the mode that Erlang
// requires.
func (n node) cookie() error {
	file := n.at("home", ".erlang.cookie")
	if _, err := child.Secret(file); err != nil {
		return err
	}
	if err := os.Chmod(file, 0o400); err != nil {
		return fmt.Errorf("protect the Erlang cookie: %w", err)
	}
	return nil
}

func (n node) settings() string {
	lines := []string{
		"listeners.tcp.1 = " + address(n.ports.AMQP),
		"management.tcp.ip = 127.0.0.1",
		"management.tcp.port = " + strconv.Itoa(n.ports.Management),
		"distribution.listener.interface = 127.0.0.1",
		"default_user = " + name,
		"default_pass = " + n.password,
		"vm_memory_high_watermark.absolute = 1GB",
		"disk_free_limit.absolute = 50MB",
		"raft.wal_max_size_bytes = 64000000",
		"log.console = true",
		"log.console.level = warning",
		"log.file = false",
	}
	if n.member != nil {
		lines = append(lines, n.member.settings()...)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (n node) epmd() child.Spec {
	return child.Spec{
		Path: n.programs.epmd,
		Args: []string{"-port", strconv.Itoa(n.ports.Epmd), "-address", "127.0.0.1"},
		Env:  n.environment(), Dir: n.path, Log: n.at("epmd.log"),
		Stop: syscall.SIGKILL, Death: syscall.SIGKILL,
	}
}

func (n node) broker() child.Spec {
	return child.Spec{
		Path: n.server, Env: n.environment(), Dir: n.path, Log: n.log(),
		// On SIGTERM Erlang stops cleanly, for which there may be no time when this process dies; its
		// files are designed to survive a crash.
		Stop: syscall.SIGTERM, Death: syscall.SIGKILL,
	}
}

// environment returns the complete environment: it excludes the caller's RABBITMQ_ and ERL_ variables
// and the system's configuration.
func (n node) environment() []string {
	schedulers, nodename := min(4, runtime.NumCPU()), name+"@localhost"
	if n.member != nil {
		schedulers, nodename = 1, n.member.name
	}
	return []string{
		"PATH=" + searchPath(),
		"HOME=" + n.at("home"),
		"LANG=C.UTF-8",
		"ERL_EPMD_PORT=" + strconv.Itoa(n.ports.Epmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		// RabbitMQ starts a short-lived Erlang node to make sure that epmd runs. It must not start
		// epmd, which would outlive this process.
		"ERL_FLAGS=-start_epmd false",
		"RABBITMQ_CONF_ENV_FILE=" + n.at("none"),
		"RABBITMQ_NODENAME=" + nodename,
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT=" + strconv.Itoa(n.ports.AMQP),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(n.ports.Dist),
		"RABBITMQ_MNESIA_BASE=" + n.at("mnesia"),
		"RABBITMQ_LOG_BASE=" + n.at("logs"),
		"RABBITMQ_CONFIG_FILE=" + n.at("rabbitmq.conf"),
		"RABBITMQ_CONFIG_FILES=" + n.at("conf.d"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + n.at("advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + n.at("enabled_plugins"),
		"RABBITMQ_PID_FILE=" + n.at("pid"),
		fmt.Sprintf("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S %d:%d", schedulers, schedulers),
		// Makes the script exec Erlang, so that our child is the broker, not a shell.
		"RUNNING_UNDER_SYSTEMD=true",
	}
}
