// Package private runs a private PostgreSQL and RabbitMQ as child processes, in a data folder that
// several processes may share.
package private

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	pglocal "github.com/warrenjobs/warren/store/local"
)

const (
	lockPoll     = 200 * time.Millisecond // between two tries for the data folder
	startTimeout = 3 * time.Minute        // for all servers, with time to fetch images
)

// Options sets which private servers a process needs, and where.
type Options struct {
	Dir      string // WARREN_DATA
	Postgres bool
	RabbitMQ bool
	Log      *slog.Logger
}

// Servers is this process's hold on the private servers of a data folder. One
// process at a time owns them: it runs them as its children and restarts one
// that dies. The others follow: they use the same servers, and when the owner
// dies one of them becomes the owner, on the same ports.
type Servers struct {
	dir    string
	want   wanted
	log    *slog.Logger
	life   context.Context // ended by Close
	end    context.CancelFunc
	loops  sync.WaitGroup // the follower's or the keepers'
	closed sync.Once

	mu       sync.Mutex
	info     Info
	lock     *os.File   // nil while we follow
	services []*service // what runs, while we own
}

// wanted is the set of servers that are wanted.
type wanted struct{ postgres, rabbitmq bool }

// Open returns when the wanted servers answer: it starts them if this process is the first on the
// folder, and otherwise waits for the owner. After an error nothing is left running. ctx bounds the
// opening only; Close ends what was opened.
func Open(ctx context.Context, o Options) (*Servers, error) {
	p := &Servers{want: wanted{o.Postgres, o.RabbitMQ}, log: o.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.life, p.end = context.WithCancel(context.Background())
	if !o.Postgres && !o.RabbitMQ {
		return p, nil
	}
	var err error
	if p.dir, err = child.DataFolder(o.Dir); err == nil {
		err = p.open(ctx)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// open owns the folder or follows its owner, whichever comes first.
func (p *Servers) open(ctx context.Context) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for logged := false; ; logged = true {
		lock, err := tryLock(p.dir)
		if err != nil {
			return err
		}
		if lock != nil {
			return p.own(ctx, lock)
		}
		following, err := p.tryFollow()
		if following || err != nil {
			return err
		}
		if !logged {
			p.log.Info("waiting for the warren that owns the private servers", "dir", p.dir)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the warren that owns %s: %w", p.dir, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// tryFollow reports whether a live owner has the servers ready for us.
func (p *Servers) tryFollow() (bool, error) {
	info, err := readInfo(p.dir)
	if errors.Is(err, fs.ErrPermission) {
		return false, child.UnusableFolder(p.dir, err)
	}
	if err != nil || !info.Ready || !info.Owner.Alive() {
		return false, nil // the owner is still at work, or not there yet
	}
	if missing := p.want.missing(info); missing != "" {
		return false,
			fmt.Errorf("the warren that owns %s (process %d) runs no private %s: give this process the URL that one was given, or "+
				"another WARREN_DATA", p.dir, info.Owner.Pid, missing)
	}
	if !answers(info.DatabaseURL) || !answers(info.AMQPURL) {
		return false, nil
	}
	p.info = info
	p.loops.Go(p.follow)
	return true, nil
}

// follow waits for the death of the owner, to become the next one.
func (p *Servers) follow() {
	for delay := firstDelay; pause(p.life, lockPoll); {
		lock, err := tryLock(p.dir)
		switch {
		case err != nil:
			p.log.Warn("cannot look whether the private servers have an owner", "error", err)
		case lock == nil:
			p.refresh()
		case p.takeOver(lock):
			return
		default: // let others try, too
			pause(p.life, delay)
			delay = nextDelay(delay)
		}
	}
}

// takeOver starts all servers that the dead owner ran, and reports whether it could.
func (p *Servers) takeOver(lock *os.File) bool {
	p.log.Warn("the owner of the private servers is gone: taking over", "dir", p.dir, "owner", p.info.Owner.Pid)
	p.want.postgres = p.want.postgres || p.info.DatabaseURL != ""
	p.want.rabbitmq = p.want.rabbitmq || p.info.AMQPURL != ""
	err := p.own(p.life, lock)
	if err != nil && p.life.Err() == nil {
		p.log.Error("cannot take over the private servers", "error", err)
	}
	return err == nil
}

// refresh reads where the servers are now: a new owner may have had to move one.
func (p *Servers) refresh() {
	info, err := readInfo(p.dir)
	if err != nil || !info.Ready {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info = info
}

// DatabaseURL returns the URL of the private PostgreSQL, with its password; "" without one.
func (p *Servers) DatabaseURL() string { return p.Info().DatabaseURL }

// AdminURL returns the URL of the private PostgreSQL's superuser, for tests.
func (p *Servers) AdminURL() (string, error) { return pglocal.AdminURL(p.dir, p.Info().Ports.Postgres) }

// AMQPURL returns the URL of the private RabbitMQ, with its password; "" without one.
func (p *Servers) AMQPURL() string { return p.Info().AMQPURL }

// ManagementURL returns the URL of the private RabbitMQ's HTTP API, with its password; "" without
// one.
func (p *Servers) ManagementURL() string { return p.Info().ManagementURL }

// Info returns what is known of the servers now.
func (p *Servers) Info() Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// Owner reports whether the servers are children of this process.
func (p *Servers) Owner() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lock != nil
}

// Close releases the servers. The owner stops them cleanly, which takes up to ten seconds; those
// that still run when ctx ends are killed. A second call does nothing.
func (p *Servers) Close(ctx context.Context) error {
	var err error
	p.closed.Do(func() {
		p.end()
		p.loops.Wait()
		if p.Owner() {
			err = p.stopAll(ctx)
		}
	})
	return err
}

// missing returns the first wanted server that the owner does not run.
func (w wanted) missing(info Info) string {
	switch {
	case w.postgres && info.DatabaseURL == "":
		return "PostgreSQL"
	case w.rabbitmq && info.AMQPURL == "":
		return "RabbitMQ"
	default:
		return ""
	}
}

// check returns, in one line, why the servers cannot be started.
func (w wanted) check(ctx context.Context, dir string) error {
	var problem error
	if w.postgres {
		problem = pglocal.Check(dir)
	}
	if w.rabbitmq {
		problem = inOneLine(problem, rabbitlocal.Check(dir))
	}
	notInstalled := errors.Is(problem, pglocal.ErrNotInstalled) || errors.Is(problem, rabbitlocal.ErrNotInstalled)
	if notInstalled && child.Docker(ctx) {
		return nil // containers are used instead
	}
	return problem
}

func inOneLine(a, b error) error {
	if a != nil && b != nil {
		return fmt.Errorf("%w; %w", a, b)
	}
	return cmp.Or(a, b)
}

// answers reports whether a server listens at the URL; true for "".
func answers(address string) bool {
	if address == "" {
		return true
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
