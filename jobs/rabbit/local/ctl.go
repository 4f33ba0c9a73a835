package local

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/warrenjobs/warren/jobs/child"
)

// Ctl runs rabbitmqctl for a server that is not a container, and waits some seconds for it to end.
func (s *Server) Ctl(ctx context.Context, args ...string) error {
	programs, err := findPrograms()
	if err != nil {
		return err
	}
	n := node{folder: s.folder, programs: programs, ports: s.ports, password: s.password}
	err = child.Run(ctx, child.Spec{Path: filepath.Join(filepath.Dir(n.server), "rabbitmqctl"), Args: args,
		Env: n.environment(), Dir: n.path, Log: n.at("ctl.log")})
	if err != nil {
		return fmt.Errorf("rabbitmqctl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
