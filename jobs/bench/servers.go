package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	postgreslocal "github.com/warrenjobs/warren/store/local"
)

// servers are one PostgreSQL and one RabbitMQ: private ones, or those of WARREN_TEST_DATABASE_URL,
// WARREN_TEST_AMQP_URL and WARREN_TEST_MANAGEMENT_URL, whose CPU time is unknown.
type servers struct {
	postgres, amqp, management string
	postgresPids, brokerPids   []int

	manage *management.Client
	dir    string
	stops  []func(context.Context) error
	places atomic.Int64
}

// startServers returns servers that are ready and that write committed data to disk. The caller must
// call Close.
func startServers(ctx context.Context) (*servers, error) {
	s := &servers{postgres: os.Getenv("WARREN_TEST_DATABASE_URL"), amqp: os.Getenv("WARREN_TEST_AMQP_URL"),
		management: os.Getenv("WARREN_TEST_MANAGEMENT_URL")}
	err := s.start(ctx)
	if err == nil {
		s.manage, err = management.New(s.management)
	}
	if err == nil {
		err = s.describe(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *servers) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var err error
	if s.dir, err = os.MkdirTemp("", "warren-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { // PostgreSQL runs as another user when we are root
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	if s.postgres == "" {
		p, err := postgreslocal.Start(ctx, postgreslocal.Options{Dir: s.dir, Log: quiet})
		if err != nil {
			return err
		}
		s.postgres, s.postgresPids, s.stops = p.AdminURL(), p.Pids(), append(s.stops, p.Stop)
	}
	if s.amqp == "" {
		b, err := rabbitlocal.Start(ctx, rabbitlocal.Options{Dir: s.dir, Log: quiet})
		if err != nil {
			return err
		}
		s.amqp, s.management, s.brokerPids, s.stops = b.URL(), b.ManagementURL(), b.Pids(), append(s.stops, b.Stop)
	}
	return nil
}

// Close stops the servers that were started and removes their data.
func (s *servers) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, stop := range s.stops {
		_ = stop(ctx)
	}
	_ = os.RemoveAll(s.dir)
}

// describe prints versions and settings of the servers, and refuses a PostgreSQL that may lose committed data.
func (s *servers) describe(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	fmt.Print("PostgreSQL")
	for _, name := range []string{"server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"} {
		var value string
		if err := conn.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err != nil {
			return err
		}
		fmt.Printf(" %s=%s", name, value)
		if (name == "fsync" || name == "synchronous_commit" || name == "full_page_writes") && value != "on" {
			return fmt.Errorf("%s is %s: a comparison of what may be lost says nothing", name, value)
		}
	}
	overview, err := s.manage.Overview(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\nRabbitMQ %s, quorum queues, persistent messages, publisher confirms\n", overview.Version)
	return nil
}

// place is a fresh database and a fresh virtual host.
type place struct {
	database, amqp string
	management     string
	manage         *management.Client
	remove         func()
}

// newPlace creates a place without any data of an earlier round.
func (s *servers) newPlace(ctx context.Context) (place, error) {
	name := fmt.Sprintf("bench_%d_%d", os.Getpid(), s.places.Add(1))
	admin, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		return place{}, err
	}
	_, err = admin.Exec(ctx, `CREATE DATABASE `+name)
	err = errors.Join(err, admin.Close(ctx), s.manage.PutVHost(ctx, name))
	broker, perr := url.Parse(s.amqp)
	database, derr := url.Parse(s.postgres)
	if err := cmp.Or(err, perr, derr); err != nil {
		return place{}, fmt.Errorf("make a fresh database and virtual host: %w", err)
	}
	if err := s.manage.PutPermissions(ctx, name, broker.User.Username(), ".*", ".*", ".*"); err != nil {
		return place{}, err
	}
	broker.Path, database.Path = "/"+name, "/"+name
	return place{database: database.String(), amqp: broker.String(), management: s.management, manage: s.manage,
		remove: func() { s.remove(name) }}, nil
}

// remove deletes the place to free disk space. Failures are ignored: private servers are removed as a
// whole in the end.
func (s *servers) remove(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = s.manage.DeleteVHost(ctx, name)
	if admin, err := pgx.Connect(ctx, s.postgres); err == nil {
		_, _ = admin.Exec(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
		_ = admin.Close(ctx)
	}
}
