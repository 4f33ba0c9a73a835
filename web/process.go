package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/web/private"
)

// Version is the version of the binary; set by the build.
var Version = "dev"

// Run runs the roles, with the built-in kinds and the program's own, until ctx ends and then stops
// gracefully. An error means that it could not start; it waits for a database or broker that is
// away.
func Run(ctx context.Context, cfg Config, roles []warren.Role, log *slog.Logger, own ...*jobs.Kind) (err error) {
	if err := cfg.Check(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		log.Warn("warren runs as root and has no need to: start it as another user, by User= in its systemd unit or with runuser -u USER")
	}
	ctx, flush, err := startTracing(ctx, log)
	if err != nil {
		return err
	}
	defer flush()
	listener, err := listenFor(cfg, roles)
	if err != nil {
		return err
	}
	if listener != nil {
		defer func() { _ = listener.Close() }()
	}
	servers, err := openPrivate(ctx, &cfg, log)
	if err != nil {
		return err
	}
	if servers != nil {
		defer func() { err = errors.Join(err, closePrivate(servers)) }()
	}
	settings, err := cfg.client(roles, log)
	if err != nil {
		return err
	}
	if servers != nil {
		settings.OwnsServers = servers.Owner
	}
	client, err := warren.Open(settings, own...)
	if err != nil {
		return err
	}
	defer client.Close()
	if listener == nil {
		return client.Run(ctx)
	}
	s, err := newServer(client, cfg, roles, log)
	if err != nil {
		return err
	}
	return runBoth(ctx, func(ctx context.Context) error { return s.serve(ctx, listener) }, client.Run)
}

// runBoth runs both until either ends, which ends the other.
func runBoth(ctx context.Context, serve, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	var failed error
	serving.Go(func() {
		defer cancel()
		failed = serve(ctx)
	})
	err := work(ctx)
	cancel()
	serving.Wait()
	return errors.Join(err, failed)
}

// listenFor opens the port before anything is started, so that a port in use is reported at once.
func listenFor(cfg Config, roles []warren.Role) (net.Listener, error) {
	addr := cfg.MetricsListen
	if slices.Contains(roles, warren.RoleWeb) {
		addr = cfg.Listen
	}
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (%w): stop what uses it, or set another address with WARREN_LISTEN", addr, err)
	}
	return l, nil
}

func openPrivate(ctx context.Context, cfg *Config, log *slog.Logger) (*private.Servers, error) {
	postgres, rabbitmq := cfg.Private()
	if !postgres && !rabbitmq {
		return nil, nil
	}
	servers, err := private.Open(ctx, private.Options{Dir: cfg.Data, Postgres: postgres, RabbitMQ: rabbitmq, Log: log})
	if err != nil {
		return nil, err
	}
	if postgres {
		cfg.DatabaseURL = servers.DatabaseURL()
	}
	if rabbitmq {
		cfg.AMQPURL, cfg.ManagementURL = servers.AMQPURL(), servers.ManagementURL()
	}
	return servers, nil
}

func closePrivate(servers *private.Servers) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return servers.Close(ctx)
}
