//go:build unix

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/child"
	"github.com/warrenjobs/warren/jobs/engine"
)

// slot is a process of the deployment that is started again and again, and its
// network.
type slot struct {
	name     string
	role     string
	program  string // instead of this one
	env      []string
	log      string
	pg, amqp *proxy
	process  *child.Process
	// downtimes are those of all processes of the slot so far.
	downtimes []downtime
}

// downtime is a time in which a process executes nothing: it is frozen by a
// signal, or has ended. The servers' clock is ours: they run on this machine.
type downtime struct {
	process     string
	from, until time.Time
}

// forever is the end of the downtime of a process that has ended.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// fleet is the deployment: a scheduler, a monitor, two relays, three workers, two more workers of a
// queue with long jobs, and the producer of the orders.
type fleet struct {
	scheduler, monitor, producer *slot
	relays, workers, longWorkers []*slot
}

// queueLong is the queue of jobs that take several seconds. It holds few jobs, so that a worker
// that comes back gets all of its messages at once: the old ones of jobs that ran before, and the
// new ones that were dispatched from PostgreSQL since.
const queueLong = "long"

// newFleet prepares the processes.
func newFleet(s *servers, dir string, rate int) (*fleet, error) {
	f := &fleet{relays: make([]*slot, 2), workers: make([]*slot, 3), longWorkers: make([]*slot, 2)}
	slots := []struct {
		into       **slot
		name, role string
	}{
		{&f.scheduler, "scheduler", "scheduler"}, {&f.monitor, "monitor", "monitor"}, {&f.producer, "producer", "producer"},
		{&f.relays[0], "relay-1", "relay"}, {&f.relays[1], "relay-2", "relay"},
		{&f.workers[0], "worker-1", "worker"}, {&f.workers[1], "worker-2", "worker"}, {&f.workers[2], "worker-3", "worker"},
		{&f.longWorkers[0], "worker-long-1", "worker"}, {&f.longWorkers[1], "worker-long-2", "worker"},
	}
	for _, sl := range slots {
		var err error
		if *sl.into, err = newSlot(s, dir, sl.name, sl.role); err != nil {
			return nil, err
		}
	}
	for _, w := range f.workers {
		w.env = append(w.env, "CHAOS_QUEUE="+jobs.QueueDefault)
	}
	for _, w := range f.longWorkers {
		w.env = append(w.env, "CHAOS_QUEUE="+queueLong)
	}
	f.producer.env = append(f.producer.env, fmt.Sprintf("CHAOS_RATE=%d", rate), "CHAOS_DIARY="+filepath.Join(dir, "diary"))
	return f, nil
}

func newSlot(s *servers, dir, name, role string) (*slot, error) {
	if s.cluster != nil { // a process that fails over must know all addresses
		return &slot{name: name, role: role, log: filepath.Join(dir, name+".log"), env: environment(dir, s.pgURL, s.amqpURL, s.httpURL)},
			nil
	}
	pg, err := newProxy(s.pgURL)
	if err != nil {
		return nil, err
	}
	amqp, err := newProxy(s.amqpURL)
	if err != nil {
		return nil, err
	}
	return &slot{name: name, role: role, pg: pg, amqp: amqp, log: filepath.Join(dir, name+".log"),
		env: environment(dir, pg.through(s.pgURL), amqp.through(s.amqpURL), s.httpURL)}, nil
}

func environment(dir, database, broker, management string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "WARREN_DATA=" + dir,
		"DATABASE_URL=" + database, "AMQP_URL=" + broker, "RABBITMQ_MANAGEMENT_URL=" + management}
}

// system returns all slots but the producer's.
func (f *fleet) system() []*slot {
	return append(append([]*slot{f.scheduler, f.monitor}, f.relays...), f.allWorkers()...)
}

func (f *fleet) allWorkers() []*slot { return slices.Concat(f.workers, f.longWorkers) }

// downtimes returns the downtimes of all workers.
func (f *fleet) downtimes() (all []downtime) {
	for _, w := range f.allWorkers() {
		all = append(all, w.downtimes...)
	}
	return all
}

// alive returns the names of the current workers, as the engine calls them.
func (f *fleet) alive() []string {
	var names []string
	for _, w := range f.allWorkers() {
		names = append(names, w.processName())
	}
	return names
}

// start starts the process; extra is added to its environment.
func (s *slot) start(extra ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	p, err := child.Start(child.Spec{Path: cmp.Or(s.program, self), Args: []string{s.role}, Env: append(append([]string{}, s.env...),
		extra...), Dir: filepath.Dir(s.log), Log: s.log})
	if err != nil {
		return err
	}
	s.process = p
	return nil
}

// processName returns the engine's name of the process.
func (s *slot) processName() string { return processName(s.process.Pid()) }

// stop stops the process gracefully, as a deployment does.
func (s *slot) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	err := s.process.Stop(ctx)
	s.down(forever)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s *slot) kill() {
	s.down(forever)
	killNow(s.process.Pid())
	<-s.process.Done()
}

// down records that the process executes nothing from now on. It is called before the signal is
// sent: others may take jobs over before this process knows that it was received.
func (s *slot) down(until time.Time) {
	s.downtimes = append(s.downtimes, downtime{s.processName(), time.Now(), until})
}

// freeze stops the process by a signal until thaw.
func (s *slot) freeze() {
	s.down(forever)
	s.signal(syscall.SIGSTOP)
}

// thaw resumes a process that was frozen, or has frozen itself.
func (s *slot) thaw() {
	s.downtimes[len(s.downtimes)-1].until = time.Now()
	s.signal(syscall.SIGCONT)
}

func (s *slot) signal(sig syscall.Signal) { _ = syscall.Kill(s.process.Pid(), sig) }

// restart stops the process gracefully and starts it again.
func (s *slot) restart(extra ...string) error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.start(extra...)
}

// crashAt restarts the process so that it freezes the n-th time it reaches the point, kills it
// there and starts it once more. It returns the name of the killed process, and when it died.
func (s *slot) crashAt(ctx context.Context, p engine.CrashPoint, n int) (died string, at time.Time, err error) {
	if err := s.stopAt(ctx, p, n); err != nil {
		return "", at, err
	}
	died, at = s.processName(), time.Now()
	s.kill()
	return died, at, s.start()
}

// stopAt restarts the process so that it freezes the n-th time it reaches the point, and waits
// until it has.
func (s *slot) stopAt(ctx context.Context, p engine.CrashPoint, n int) error {
	if err := s.restart(fmt.Sprintf("WARREN_CRASH_AT=%s:%d", p, n)); err != nil {
		return err
	}
	for deadline := time.Now().Add(crashWait); !s.stopped(); sleep(ctx, 10*time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s never came to %s", s.name, p)
		}
	}
	s.down(forever)
	return nil
}

// stopped reports whether the process is frozen by a signal (Linux).
func (s *slot) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Pid()))
	_, after, found := strings.Cut(string(stat), ") ")
	return err == nil && found && strings.HasPrefix(after, "T")
}

// crashWait only bounds a failure: a busy machine sends fewer batches, and reaches a crash point
// later.
const crashWait = 2 * time.Minute

func (s *slot) isWorker() bool { return s.role == "worker" }
