package local

import (
	"path/filepath"

	"github.com/warrenjobs/warren/jobs/child"
)

const image = "postgres:17"

// usesContainer reports whether the data was made by a container: other binaries may not be able to
// read it.
func (f folder) usesContainer() bool { return exists(f.path, "docker") }

func (s *Server) container(home folder) child.Container {
	return child.Container{
		Name: child.ContainerName("postgres", home.path), Image: image, Host: name,
		Ports: map[int]int{s.port: 5432},
		Env:   []string{"POSTGRES_USER=" + superuser, "POSTGRES_PASSWORD=" + s.superuserPassword, "POSTGRES_DB=" + maintenance},
		Args:  []string{"-c", "max_connections=200"},
		// The image keeps the cluster one level below its volume.
		Volume: filepath.Join(home.path, "docker"), Mount: "/var/lib/postgresql/data",
		Log: home.log(), Stop: fast,
	}
}
