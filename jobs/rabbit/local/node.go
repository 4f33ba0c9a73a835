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

// folder is the path of DIR/rabbitmq: data, configuration, secrets and log of one server. Only mnesia and logs belong to the
// server's user.
type folder struct{ path string }

func openFolder(dir string) (folder, error) {
	path, err := child.Folder(dir, "rabbitmq", "mnesia", "logs", "docker")
	return folder{path}, err
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
	user     *child.User // nil: the current user
	ports    Ports
	password string
	member   *member // nil: not part of a cluster
}

// account: the user rabbitmq of the packages; where only the programs were unpacked, another that runs servers and nothing else.
var account = child.Account{Server: "RabbitMQ", Users: []string{"rabbitmq", "postgres"}, URL: "AMQP_URL"}

func newNode(home folder, ports Ports, password string) (node, error) {
	programs, err := findPrograms()
	if err != nil {
		return node{}, err
	}
	user, err := account.For(home.at("mnesia"))
	if err != nil {
		return node{}, err
	}
	return node{folder: home, programs: programs, user: user, ports: ports, password: password}, nil
}

// configure writes the broker's configuration files, from scratch at each start. The server's user reads them, in folders that it
// cannot write. The cookie is that by which Erlang nodes authenticate each other.
func (n node) configure(cookie string) error {
	for _, dir := range []string{"mnesia", "logs"} {
		if err := child.Give(n.at(dir), n.user); err != nil {
			return err
		}
	}
	if err := n.makeHome(); err != nil {
		return fmt.Errorf("make the home of the broker: %w", err)
	}
	files := map[string]string{
		"home/.erlang.cookie": cookie,
		"enabled_plugins":     "[rabbitmq_management].\n",
		"rabbitmq.conf":       n.settings(),
	}
	for file, text := range files {
		// Erlang takes no cookie that others can read.
		if err := child.WriteOwn(n.at(file), []byte(text), 0o400, n.user); err != nil {
			return fmt.Errorf("write the configuration of the broker: %w", err)
		}
	}
	return nil
}

func (n node) makeHome() error {
	if err := os.MkdirAll(n.at("home"), 0o711); err != nil {
		return err
	}
	return os.Chmod(n.at("home"), 0o711) // that of a Warren before was closed
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
		Env:  n.environment(), Dir: n.path, Log: n.at("epmd.log"), User: n.user,
		Stop: syscall.SIGKILL, Death: syscall.SIGKILL,
	}
}

// tool is a command of RabbitMQ's, run as the administrator of this node.
func (n node) tool(program string, args []string, log string) child.Spec {
	return child.Spec{Path: filepath.Join(filepath.Dir(n.server), program), Args: args, Env: n.environment(), Dir: n.path, Log: n.at(log),
		User: n.user}
}

func (n node) broker() child.Spec {
	return child.Spec{
		Path: n.server, Env: n.environment(), Dir: n.path, Log: n.log(), User: n.user,
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
		"RABBITMQ_CTL_ERL_ARGS=-start_epmd false", // its commands set ERL_FLAGS themselves
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
		"RABBITMQ_PID_FILE=" + n.at("mnesia", "pid"),
		fmt.Sprintf("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S %d:%d", schedulers, schedulers),
		// Makes the script exec Erlang, so that our child is the broker, not a shell.
		"RUNNING_UNDER_SYSTEMD=true",
	}
}
