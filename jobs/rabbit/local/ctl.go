package local

import (
	"context"
	"fmt"
	"strings"

	"github.com/warrenjobs/warren/jobs/child"
)

// Ctl runs rabbitmqctl for a server that is not a container, and waits some seconds for it to end.
func (s *Server) Ctl(ctx context.Context, args ...string) error {
	n, err := newNode(s.folder, s.ports, s.password)
	if err != nil {
		return err
	}
	if err := child.Run(ctx, n.tool("rabbitmqctl", args, "ctl.log")); err != nil {
		return fmt.Errorf("rabbitmqctl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
