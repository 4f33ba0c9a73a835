// Package local runs a private RabbitMQ with its management plugin as a child process: on loopback,
// with its own data, cookie and epmd, so that it runs beside any other RabbitMQ. It ends with this
// process.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
)

// name is the name of the administrator account of every private server.
const name = "warren"

// Options configures Start.
type Options struct {
	Dir   string // the server keeps everything, including its password, in DIR/rabbitmq
	Ports Ports
	Log   *slog.Logger
}

// Ports are the server's ports on 127.0.0.1; 0 means any free port.
type Ports struct {
	AMQP       int `json:"amqp"`
	Management int `json:"management"`
	Dist       int `json:"dist"` // between Erlang nodes
	Epmd       int `json:"epmd"`
}

// Server is a running private RabbitMQ.
type Server struct {
	folder   folder
	broker   *child.Process
	epmd     *child.Process // nil with a container, which has its own
	ports    Ports
	password string
	ended    error // set before done is closed
	done     chan struct{}
}

// Start starts the server and returns when AMQP and the management API answer. If ctx ends first, or
// anything fails, nothing is left running. If RabbitMQ is not installed and a Docker engine answers,
// the server is a container.
//
// The caller must ensure that no other process starts a server in the same folder.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start a private RabbitMQ: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (*Server, error) {
	home, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{folder: home, ports: o.Ports, done: make(chan struct{})}
	if s.password, err = home.password(); err != nil {
		return nil, err
	}
	if err := s.ports.choose(); err != nil {
		return nil, err
	}
	if o.Log != nil && home.isNew() {
		o.Log.Info("making a private RabbitMQ", "dir", home.path)
	}
	crashed, err := home.markRunning()
	if err != nil {
		return nil, err
	}
	if err := s.launch(ctx, home); err != nil {
		return nil, err
	}
	go s.watch()
	if err := s.awaitReady(ctx); err != nil {
		s.abandon()
		return nil, err
	}
	if crashed && s.epmd != nil {
		if err := s.electLeaders(ctx, home); err != nil && o.Log != nil { // most crashes leave nothing to repair
			o.Log.Warn("the private RabbitMQ runs, but", "error", err)
		}
	}
	return s, nil
}

func (s *Server) electLeaders(ctx context.Context, home folder) error {
	node, err := newNode(home, s.ports, s.password)
	if err != nil {
		return err
	}
	return node.electLeaders(ctx)
}

// launch starts the installed programs, or a container if they are missing or the data was written
// by a container.
func (s *Server) launch(ctx context.Context, home folder) (err error) {
	node, err := newNode(home, s.ports, s.password)
	if home.usesContainer() || (errors.Is(err, ErrNotInstalled) && child.Docker(ctx)) {
		s.broker, err = s.container(home).Start(ctx)
		return err
	}
	if err != nil {
		return err
	}
	if err := node.configure(rand.Text()); err != nil {
		return err
	}
	// Start epmd first and in the foreground: an epmd that the broker starts itself outlives it.
	if s.epmd, err = child.Start(node.epmd()); err != nil {
		return err
	}
	if err := awaitPort(ctx, s.ports.Epmd, s.epmd); err != nil {
		killNow(s.epmd)
		return err
	}
	if s.broker, err = child.Start(node.broker()); err != nil {
		killNow(s.epmd)
		return err
	}
	return nil
}

// watch ends both processes as soon as one of them has ended: without epmd the broker keeps working,
// but cannot be administered any more.
func (s *Server) watch() {
	defer close(s.done)
	if s.epmd == nil {
		<-s.broker.Done()
		s.ended = s.broker.Ended()
		return
	}
	select {
	case <-s.broker.Done():
		s.ended = s.broker.Ended()
	case <-s.epmd.Done():
		s.ended = s.epmd.Ended()
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		_ = s.broker.Stop(ctx)
	}
	killNow(s.epmd)
}

// abandon kills a server that never became ready: it has no data to lose.
func (s *Server) abandon() {
	killNow(s.broker)
	<-s.done
}

func killNow(p *child.Process) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Stop(ctx)
}

// URL returns the AMQP URL, which contains the password.
func (s *Server) URL() string { return s.url("amqp", s.ports.AMQP) + "/" }

// ManagementURL returns the URL of the HTTP API, which contains the password.
func (s *Server) ManagementURL() string { return s.url("http", s.ports.Management) }

func (s *Server) url(scheme string, port int) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(name, s.password), Host: address(port)}
	return u.String()
}

// Ports returns the ports that the server listens on.
func (s *Server) Ports() Ports { return s.ports }

// Pids returns the process ids of the broker and, unless it is a container, of its epmd.
func (s *Server) Pids() []int {
	if s.epmd == nil {
		return []int{s.broker.Pid()}
	}
	return []int{s.broker.Pid(), s.epmd.Pid()}
}

// Done returns a channel that is closed when both processes have ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Ended returns how the server ended, with the reason from its log; nil before Done is closed.
func (s *Server) Ended() error {
	select {
	case <-s.done:
		return s.ended
	default:
		return nil
	}
}

// Stop stops the broker cleanly, which takes several seconds, and then its epmd. If ctx ends first,
// both are killed. It may be called repeatedly.
func (s *Server) Stop(ctx context.Context) error {
	err := s.broker.Stop(ctx)
	<-s.done
	if err != nil || ctx.Err() != nil { // possibly killed: the next start treats it as a crash
		return err
	}
	return s.folder.markStopped()
}

// choose replaces each port that is 0 by a free one.
func (p *Ports) choose() error {
	for _, port := range []*int{&p.AMQP, &p.Management, &p.Dist, &p.Epmd} {
		if *port != 0 {
			continue
		}
		free, err := child.FreePort()
		if err != nil {
			return err
		}
		*port = free
	}
	return nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
