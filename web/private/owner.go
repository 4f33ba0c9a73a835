package private

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	pglocal "github.com/warrenjobs/warren/store/local"
)

const (
	firstDelay  = 100 * time.Millisecond // before a server that died is started again
	longest     = 30 * time.Second       // the delay doubles up to this
	stableAfter = time.Minute            // a server that lived so long starts over with the first delay

	portPatience = 3 * time.Second  // for a kept port to become free
	quitAfter    = 10 * time.Second // for the servers of a dead owner to end by themselves
	killAfter    = 15 * time.Second
	giveUpAfter  = 20 * time.Second
)

// server is what both servers have in common.
type server interface {
	Pids() []int
	Done() <-chan struct{}
	Ended() error
	Stop(context.Context) error
}

// service is one server and how to start it, also again.
type service struct {
	name      string
	processes []string // names of the server's pids, in their order
	start     func(context.Context) (server, error)
	server    server
}

// own starts the wanted servers, publishes where they are and keeps them running. After an error
// nothing runs and the lock is free again.
func (p *Servers) own(ctx context.Context, lock *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p.mu.Lock()
	p.lock = lock
	p.mu.Unlock()
	if err := p.startAll(ctx); err != nil {
		stop, cancelStop := context.WithTimeout(context.Background(), quitAfter)
		defer cancelStop()
		_ = p.stopAll(stop) // the error to return is the one that kept us from starting
		return err
	}
	for _, s := range p.services {
		p.loops.Go(func() { p.keep(s) })
	}
	return nil
}

func (p *Servers) startAll(ctx context.Context) error {
	if err := p.want.check(ctx, p.dir); err != nil {
		return err
	}
	if err := p.inherit(ctx); err != nil {
		return err
	}
	began := time.Now()
	p.log.Info("starting private servers", "dir", p.dir, "postgresql", p.want.postgres, "rabbitmq", p.want.rabbitmq)
	p.services = p.wantedServices()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := inParallel(p.services, func(s *service) error {
		err := p.startOne(ctx, s)
		if err != nil && ctx.Err() == nil { // another process may have taken a free port before we could
			p.log.Warn("a private server did not start: trying once more", "server", s.name, "error", err)
			err = p.startOne(ctx, s)
		}
		if err != nil {
			cancel() // one server alone is of no use
		}
		return err
	})
	if err != nil {
		return err
	}
	p.log.Info("private servers are ready", "took", time.Since(began).Round(time.Millisecond))
	return p.update(func(info *Info) { info.Ready = true })
}

// inherit takes over what the last owner left: its ports, and its servers' processes, which must be
// gone before ours open the same data.
func (p *Servers) inherit(ctx context.Context) error {
	last, err := readInfo(p.dir)
	if err != nil {
		p.log.Warn("starting without what the last owner wrote down", "error", err)
	}
	// The old processes stay on record until they are gone: we may die here, too.
	err = p.update(func(info *Info) {
		known := *info // the URLs stay: their users just reconnect
		*info = Info{Owner: child.Self(), Ports: last.Ports, Processes: last.Processes}
		info.DatabaseURL, info.AMQPURL, info.ManagementURL = known.DatabaseURL, known.AMQPURL, known.ManagementURL
	})
	if err != nil {
		return err
	}
	if err := awaitGone(ctx, slices.Collect(maps.Values(last.Processes))); err != nil {
		return err
	}
	ports := p.freePorts(ctx, last.Ports)
	return p.update(func(info *Info) { info.Ports, info.Processes = ports, nil })
}

// freePorts drops the ports that another process has taken.
func (p *Servers) freePorts(ctx context.Context, ports Ports) Ports {
	for _, port := range []*int{&ports.Postgres, &ports.RabbitMQ.AMQP, &ports.RabbitMQ.Management, &ports.RabbitMQ.Dist,
		&ports.RabbitMQ.Epmd} {
		if *port == 0 || portBecomesFree(ctx, *port) {
			continue
		}
		p.log.Warn("the port of a private server is taken: choosing another", "port", *port)
		*port = 0
	}
	return ports
}

func portBecomesFree(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, portPatience)
	defer cancel()
	for !child.PortFree(port) {
		if !pause(ctx, firstDelay) {
			return false
		}
	}
	return true
}

func (p *Servers) wantedServices() []*service {
	var services []*service
	if p.want.postgres {
		services = append(services, &service{name: "PostgreSQL", processes: []string{"postgres"}, start: p.startPostgres})
	}
	if p.want.rabbitmq {
		services = append(services, &service{name: "RabbitMQ", processes: []string{"rabbitmq", "epmd"}, start: p.startRabbitMQ})
	}
	return services
}

func (p *Servers) startPostgres(ctx context.Context) (server, error) {
	s, err := pglocal.Start(ctx, pglocal.Options{Dir: p.dir, Port: p.Info().Ports.Postgres, Log: p.log})
	if err != nil {
		return nil, err
	}
	return s, p.update(func(info *Info) { info.Ports.Postgres, info.DatabaseURL = s.Port(), s.URL() })
}

func (p *Servers) startRabbitMQ(ctx context.Context) (server, error) {
	s, err := rabbitlocal.Start(ctx, rabbitlocal.Options{Dir: p.dir, Ports: p.Info().Ports.RabbitMQ, Log: p.log})
	if err != nil {
		return nil, err
	}
	return s, p.update(func(info *Info) {
		info.Ports.RabbitMQ, info.AMQPURL, info.ManagementURL = s.Ports(), s.URL(), s.ManagementURL()
	})
}

// startOne starts a server and records its processes.
func (p *Servers) startOne(ctx context.Context, s *service) error {
	server, err := s.start(ctx)
	if server != nil {
		s.server = server // also with an error: it has to be stopped
	}
	if err != nil {
		return err
	}
	return p.update(func(info *Info) {
		processes := maps.Clone(info.Processes) // the old map may be in a reader's hands
		if processes == nil {
			processes = map[string]child.Identity{}
		}
		for i, pid := range server.Pids() {
			processes[s.processes[i]] = child.Identify(pid)
		}
		info.Processes = processes
	})
}

// keep starts a server again whenever it has ended, on the same port.
func (p *Servers) keep(s *service) {
	for delay := firstDelay; ; delay = nextDelay(delay) {
		began := time.Now()
		select {
		case <-p.life.Done():
			return
		case <-s.server.Done():
		}
		if time.Since(began) > stableAfter {
			delay = firstDelay
		}
		p.log.Warn("a private server ended: starting it again", "server", s.name, "error", s.server.Ended(), "in", delay)
		if delay = p.restart(s, delay); delay == 0 {
			return
		}
	}
}

// restart tries until the server runs and returns the last delay, or 0 while p is closing.
func (p *Servers) restart(s *service, delay time.Duration) time.Duration {
	for pause(p.life, delay) {
		ctx, cancel := context.WithTimeout(p.life, startTimeout)
		err := p.startOne(ctx, s)
		cancel()
		if err == nil {
			p.log.Info("a private server runs again", "server", s.name)
			return delay
		}
		if p.life.Err() != nil {
			return 0
		}
		delay = nextDelay(delay)
		p.log.Error("cannot start a private server again", "server", s.name, "error", err, "again_in", delay)
	}
	return 0
}

// stopAll stops the servers and frees the folder for the next owner.
func (p *Servers) stopAll(ctx context.Context) error {
	stopped := inParallel(p.services, func(s *service) error {
		if s.server == nil {
			return nil
		}
		return s.server.Stop(ctx)
	})
	written := p.update(func(info *Info) {
		info.Owner, info.Ready, info.Processes = child.Identity{}, false, nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.services = nil
	unlocked := p.lock.Close()
	p.lock = nil
	return errors.Join(stopped, written, unlocked)
}

// update changes the info and writes it to servers.json.
func (p *Servers) update(change func(*Info)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.info)
	return writeInfo(p.dir, p.info)
}

// awaitGone waits for the processes of a dead owner, which end by themselves. A process that does
// not is sent SIGQUIT, and at last SIGKILL: its pid and start time show that it is ours.
func awaitGone(ctx context.Context, processes []child.Identity) error {
	began := time.Now()
	for {
		processes = slices.DeleteFunc(processes, func(id child.Identity) bool { return !id.Alive() })
		if len(processes) == 0 {
			return nil
		}
		waited := time.Since(began)
		if waited > giveUpAfter {
			return fmt.Errorf("process %d, a server of the warren that ran here before, does not end: stop it first", processes[0].Pid)
		}
		for _, id := range processes {
			switch {
			case waited > killAfter:
				id.Signal(syscall.SIGKILL)
			case waited > quitAfter:
				id.Signal(syscall.SIGQUIT)
			}
		}
		if !pause(ctx, firstDelay) {
			return fmt.Errorf("wait for the servers of the last owner to end: %w", context.Cause(ctx))
		}
	}
}

// inParallel calls do for all services at once and returns the first error in time.
func inParallel(services []*service, do func(*service) error) error {
	results := make(chan error, len(services))
	for _, s := range services {
		go func() { results <- do(s) }()
	}
	var first error
	for range services {
		if err := <-results; first == nil {
			first = err
		}
	}
	return first
}

func nextDelay(delay time.Duration) time.Duration { return min(2*delay, longest) }

// pause waits for d and reports whether it was over before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
