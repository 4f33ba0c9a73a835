//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	pglocal "github.com/warrenjobs/warren/store/local"
)

// servers are PostgreSQL and RabbitMQ: private ones that may be killed, or, for
// the short form, others of which only the URLs are known.
type servers struct {
	dir                     string
	postgres                *pglocal.Server
	rabbitmq                *rabbitlocal.Server
	pair                    *pglocal.Pair        // instead of postgres: with a standby
	cluster                 *rabbitlocal.Cluster // instead of rabbitmq: three nodes
	pgURL, amqpURL, httpURL string
}

const (
	startWait = 3 * time.Minute // on a busy machine
	stopWait  = 30 * time.Second
)

// openServers uses the servers of CHAOS_DATABASE_URL, CHAOS_AMQP_URL and CHAOS_MANAGEMENT_URL, or
// starts private ones in dir.
func openServers(ctx context.Context, dir string) (*servers, error) {
	s := &servers{dir: dir, pgURL: os.Getenv("CHAOS_DATABASE_URL"), amqpURL: os.Getenv("CHAOS_AMQP_URL"),
		httpURL: os.Getenv("CHAOS_MANAGEMENT_URL")}
	if s.pgURL != "" {
		return s, nil
	}
	if err := s.startPostgres(ctx); err != nil {
		return nil, err
	}
	if err := s.startRabbitMQ(ctx); err != nil {
		s.close()
		return nil, err
	}
	s.pgURL, s.amqpURL, s.httpURL = s.postgres.URL(), s.rabbitmq.URL(), s.rabbitmq.ManagementURL()
	return s, nil
}

// openCluster starts a PostgreSQL with a synchronous standby, and three nodes of RabbitMQ.
func openCluster(ctx context.Context, dir string) (_ *servers, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*startWait)
	defer cancel()
	s := &servers{dir: dir}
	if s.pair, err = pglocal.StartPair(ctx, dir); err != nil {
		return nil, err
	}
	if s.cluster, err = rabbitlocal.StartCluster(ctx, dir, 3); err != nil {
		s.close()
		return nil, err
	}
	s.pgURL, s.amqpURL, s.httpURL = s.pair.URL(), s.cluster.URL(), s.cluster.ManagementURL()
	return s, nil
}

func (s *servers) startPostgres(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	o := pglocal.Options{Dir: s.dir, Log: slog.New(slog.DiscardHandler)}
	if s.postgres != nil {
		o.Port = s.postgres.Port()
	}
	server, err := pglocal.Start(ctx, o)
	if err == nil {
		s.postgres = server
	}
	return err
}

func (s *servers) startRabbitMQ(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	o := rabbitlocal.Options{Dir: s.dir, Log: slog.New(slog.DiscardHandler)}
	if s.rabbitmq != nil {
		o.Ports = s.rabbitmq.Ports()
	}
	server, err := rabbitlocal.Start(ctx, o)
	if err == nil {
		s.rabbitmq = server
	}
	return err
}

// close kills the servers that were started: none of their data is kept.
func (s *servers) close() {
	if s.rabbitmq != nil {
		killNow(s.rabbitmq.Pids()[0])
		<-s.rabbitmq.Done()
	}
	if s.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		_ = s.postgres.Stop(ctx)
	}
	if s.cluster != nil {
		s.cluster.Stop()
	}
	if s.pair != nil {
		s.pair.Stop()
	}
}

func killNow(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// restartPostgres stops the server as its administrator does, or kills it, and starts it again.
func (s *servers) restartPostgres(ctx context.Context, kill bool) error {
	if kill {
		killNow(s.postgres.Pid())
		<-s.postgres.Done()
	} else {
		stop, cancel := context.WithTimeout(ctx, stopWait)
		defer cancel()
		if err := s.postgres.Stop(stop); err != nil {
			return err
		}
	}
	return s.startPostgres(ctx)
}

func (s *servers) restartRabbitMQ(ctx context.Context, kill bool) error {
	if kill {
		killNow(s.rabbitmq.Pids()[0])
		<-s.rabbitmq.Done()
	} else {
		stop, cancel := context.WithTimeout(ctx, stopWait)
		defer cancel()
		if err := s.rabbitmq.Stop(stop); err != nil {
			return err
		}
	}
	return s.startRabbitMQ(ctx)
}

// manage calls the broker's management API; path comes after the virtual host.
func (s *servers) manage(ctx context.Context, method, path, body string) error {
	what, rest, _ := strings.Cut(path, "/")
	base, err := url.Parse(s.httpURL)
	if err != nil {
		return fmt.Errorf("read the URL of the management API: %w", err)
	}
	target := base.JoinPath("api", what, url.PathEscape(s.vhost()))
	target.RawPath = target.EscapedPath()
	req, err := http.NewRequestWithContext(ctx, method, target.String()+"/"+rest, strings.NewReader(body))
	if err != nil {
		return err
	}
	if base.User != nil {
		password, _ := base.User.Password()
		req.SetBasicAuth(base.User.Username(), password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return nil
}

func (s *servers) vhost() string {
	u, _ := url.Parse(s.amqpURL)
	if u == nil || strings.Trim(u.Path, "/") == "" {
		return "/"
	}
	return strings.TrimPrefix(u.Path, "/")
}
