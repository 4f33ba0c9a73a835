package local

import (
	"syscall"

	"github.com/warrenjobs/warren/jobs/child"
)

const image = "rabbitmq:4-management"

// usesContainer reports whether the data was written by a container: an installed RabbitMQ of
// another version could not read it.
func (f folder) usesContainer() bool { return exists(f.at("docker")) }

func (s *Server) container(home folder) child.Container {
	return child.Container{
		Name: child.ContainerName("rabbitmq", home.path), Image: image, Host: name, // the data directory is named after the host
		Ports:  map[int]int{s.ports.AMQP: 5672, s.ports.Management: 15672},
		Env:    []string{"RABBITMQ_DEFAULT_USER=" + name, "RABBITMQ_DEFAULT_PASS=" + s.password},
		Volume: home.at("docker"), Mount: "/var/lib/rabbitmq",
		Log: home.log(), Stop: syscall.SIGTERM,
	}
}
