package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/child"
)

// slot is a process of the deployment that is started again and again, and its
// network.
type slot struct {
	name     string
	path     string
	args     []string
	env      []string
	log      string
	pg, amqp *proxy
	process  *child.Process
}

// fleet is the deployment: who schedules and watches, two relays, three workers
// and who places the orders.
type fleet struct {
	scheduler, monitor, producer *slot
	relays, workers              []*slot
}

// newFleet prepares the processes. warren is the real program; this one is the application.
func newFleet(s *servers, dir, warren string, rate int) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	make := func(name, path string, args ...string) *slot {
		if err != nil {
			return nil
		}
		var sl *slot
		sl, err = newSlot(s, dir, name, path, args...)
		return sl
	}
	f := &fleet{
		scheduler: make("scheduler", warren, "scheduler"),
		monitor:   make("monitor", warren, "monitor"),
		relays:    []*slot{make("relay-1", warren, "relay"), make("relay-2", warren, "relay")},
		workers:   []*slot{make("worker-1", self, "worker"), make("worker-2", self, "worker"), make("worker-3", self, "worker")},
		producer:  make("producer", self, "producer"),
	}
	if err != nil {
		return nil, err
	}
	f.producer.env = append(f.producer.env, fmt.Sprintf("CHAOS_RATE=%d", rate), "CHAOS_DIARY="+filepath.Join(dir, "diary"))
	return f, nil
}

func newSlot(s *servers, dir, name, path string, args ...string) (*slot, error) {
	pg, err := newProxy(s.pgURL)
	if err != nil {
		return nil, err
	}
	amqp, err := newProxy(s.amqpURL)
	if err != nil {
		return nil, err
	}
	return &slot{name: name, path: path, args: args, pg: pg, amqp: amqp, log: filepath.Join(dir, name+".log"),
		env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "DATABASE_URL=" + pg.through(s.pgURL), "AMQP_URL=" + amqp.through(s.amqpURL),
			"RABBITMQ_MANAGEMENT_URL=" + s.httpURL, "WARREN_DATA=" + dir}}, nil
}

// system is everybody but the producer.
func (f *fleet) system() []*slot {
	return append(append([]*slot{f.scheduler, f.monitor}, f.relays...), f.workers...)
}

// alive are the workers of now, as the engine calls them.
func (f *fleet) alive() []string {
	var names []string
	for _, w := range f.workers {
		names = append(names, w.processName())
	}
	return names
}

// start starts the process; extra is added to its environment.
func (s *slot) start(extra ...string) error {
	p, err := child.Start(child.Spec{Path: s.path, Args: s.args, Env: append(append([]string{}, s.env...), extra...), Dir: filepath.Dir(s.log), Log: s.log})
	if err != nil {
		return err
	}
	s.process = p
	return nil
}

// processName is how the engine calls the process.
func (s *slot) processName() string { return processName(s.process.Pid()) }

// stop asks the process to stop, as a deployment does.
func (s *slot) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if err := s.process.Stop(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s *slot) kill() {
	killNow(s.process.Pid())
	<-s.process.Done()
}

func (s *slot) signal(sig syscall.Signal) { _ = syscall.Kill(s.process.Pid(), sig) }

// restart stops the process in good order and starts it again.
func (s *slot) restart(extra ...string) error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.start(extra...)
}

// crashAt starts the process anew so that it dies at the n-th time it comes to
// the point, waits until it did and starts it once more. It returns who died, and when.
func (s *slot) crashAt(ctx context.Context, p jobs.CrashPoint, n int) (died string, at time.Time, err error) {
	if err := s.restart(fmt.Sprintf("WARREN_CRASH_AT=%s:%d", p, n)); err != nil {
		return "", at, err
	}
	died = s.processName()
	select {
	case <-s.process.Done():
		at = time.Now()
	case <-ctx.Done():
		return died, at, context.Cause(ctx)
	case <-time.After(crashWait):
		return died, at, fmt.Errorf("%s never came to %s", s.name, p)
	}
	return died, at, s.start()
}

// stopAt starts the process anew so that it freezes at the n-th time it comes to
// the point, and waits until it did.
func (s *slot) stopAt(ctx context.Context, p jobs.CrashPoint, n int) error {
	if err := s.restart(fmt.Sprintf("WARREN_CRASH_AT=%s:%d:stop", p, n)); err != nil {
		return err
	}
	for deadline := time.Now().Add(crashWait); !s.stopped(); sleep(ctx, 10*time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s never came to %s", s.name, p)
		}
	}
	return nil
}

// stopped says whether the process is frozen by a signal (Linux).
func (s *slot) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Pid()))
	_, after, found := strings.Cut(string(stat), ") ")
	return err == nil && found && strings.HasPrefix(after, "T")
}

const crashWait = 20 * time.Second

func (s *slot) isWorker() bool { return len(s.args) == 1 && s.args[0] == "worker" }
