package sim_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// world is one deployment under one schedule, in a bubble of testing/synctest:
// its time is the bubble's, and passes only when the schedule sleeps.
type world struct {
	url        string
	deployment string
	real       *outside
	pg         *postgres
	reader     *store.Store // reads as the pages do, from outside
	locker     *backend     // a backend that holds row locks
	rabbit     *rabbit
	ledger     *ledger
	rules      *rules
	rng        *rand.Rand
	began      time.Time
	over       func() bool // reports that the real time is over: the schedule is cut short
	stubborn   bool        // jobs that are enqueued now ignore the end of their context
	early      bool        // the rule to break again broke before the last turn had ended
	ended      bool        // the last turn has ended

	procs   []*process
	running sync.WaitGroup
	jobs    []uuid.UUID // in the order of their enqueueing
	asked   sync.WaitGroup

	mu       sync.Mutex
	steps    int
	events   []string
	violated error
	before   snapshot
	dirty    bool // a statement has changed something since the last look
	freed    bool // locks were released, for which others may wait
}

const eventsKept = 400

// event records an event for the story of a failure.
func (w *world) event(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == eventsKept {
		w.events = append(w.events[:0], w.events[eventsKept/2:]...)
	}
	w.events = append(w.events, fmt.Sprintf("%9.3f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// broken records the first violation of a rule.
func (w *world) broken(r rule, format string, args ...any) {
	err := fmt.Errorf(string(r)+": "+format, args...)
	w.event("VIOLATED: %v", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.violated == nil {
		w.violated = err
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.violated != nil
}

// must reports an error of the simulator itself.
func (w *world) must(err error) {
	if err != nil {
		w.broken(simulator, "%w", err)
	}
}

func (w *world) met(rule string)         { w.rules.add(rule, 1) }
func (w *world) metN(rule string, n int) { w.rules.add(rule, n) }

// outside runs f beside the bubble, with the database's clock at the bubble's time.
func (w *world) outside(f func(p *postgres) error) {
	now := time.Now()
	var err error
	w.real.do(func() {
		if err = w.pg.setClock(now); err == nil {
			err = f(w.pg)
		}
	})
	w.must(err)
}

// step is one thing that can happen next.
type step struct {
	name string
	do   func()
}

// choices lists what can happen next, in an order that depends on nothing but the state.
func (w *world) choices() (list []step) {
	for _, p := range w.procs {
		if !p.alive() || p.frozen {
			continue
		}
		for _, c := range p.db.ready() {
			list = append(list, step{"", c.forward})
		}
	}
	list = append(list, w.rabbit.choices(w.rng)...)
	return append(list, w.ledger.choices()...)
}

func (r *rabbit) choices(rng *rand.Rand) (list []step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	locked := func(do func()) func() {
		return func() { r.mu.Lock(); defer r.mu.Unlock(); do() }
	}
	for _, s := range r.sessions {
		if s.p.mute || s.p.away || s.p.dead {
			continue
		}
		if n := len(s.answers); n > 0 && !s.p.frozen {
			list = append(list, step{"", locked(func() { s.read(min(len(s.answers), 1+rng.IntN(n))) })})
		}
		for _, q := range append([]string{deadQueue}, queueNames...) {
			if n := s.room(q); n > 0 {
				list = append(list, step{fmt.Sprintf("RabbitMQ delivers of %s to %s", q, s.p.name), locked(func() {
					s.deliver(q, min(s.room(q), 1+rng.IntN(n)))
				})})
			}
		}
	}
	for _, s := range r.senders {
		if s.p.mute || s.p.away || s.p.dead {
			continue
		}
		if n := s.notTaken(); n > 0 && !s.p.frozen {
			list = append(list, step{fmt.Sprintf("RabbitMQ takes messages of %s", s.p.name), locked(func() { r.takeIn(s, 1+rng.IntN(n)) })})
		}
		if len(s.flying) > 0 && s.flying[0].taken && !r.slow {
			list = append(list, step{fmt.Sprintf("RabbitMQ confirms to %s", s.p.name),
				locked(func() { r.confirm(s, 1+rng.IntN(len(s.flying))) })})
		}
	}
	return list
}

func (s *sender) notTaken() (n int) {
	for _, f := range s.flying {
		if !f.taken {
			n++
		}
	}
	return n
}

// step does one thing. It reports false if there was none to do.
func (w *world) step() bool {
	list := w.choices()
	if len(list) == 0 || w.failed() {
		return false
	}
	s := list[w.rng.IntN(len(list))]
	if s.name != "" {
		w.event("%s", s.name)
	}
	s.do()
	w.quiesce()
	return true
}

// quiesce waits until every process waits, and checks the rules.
func (w *world) quiesce() {
	synctest.Wait()
	w.lookIfDirty()
	w.askWaiting()
	w.mu.Lock()
	w.steps++
	w.mu.Unlock()
	w.ledger.check()
	w.lookIfDirty()
}

// askWaiting fetches the answers of backends that waited for a lock, if a lock has been released since.
func (w *world) askWaiting() {
	ask := w.freed
	w.freed = false
	for _, p := range w.procs {
		if p.db == nil {
			continue
		}
		for _, c := range p.db.waiting() {
			if ask {
				c.askAgain()
				synctest.Wait()
				w.lookIfDirty()
			}
		}
		p.db.reap()
	}
}

// pass lets time pass, and what comes due with it.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	w.freed = true
	w.quiesce()
	now := time.Now()
	for _, p := range w.procs {
		if p.db != nil {
			p.db.expire(now, p.frozen)
		}
	}
	w.rabbit.expire(now)
	w.quiesce()
}

// stepsMax bounds what happens at one moment: more is a loop without a wait.
const stepsMax = 5000

// run lets everything go on for d; up to grain passes between the turns.
func (w *world) run(d, grain time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !w.failed(); {
		n := 0
		for w.step() {
			if n++; n > stepsMax {
				w.broken(noSpin, "more than %d steps at one moment", stepsMax)
			}
			if w.rng.IntN(16) == 0 { // the rest waits for the next turn
				break
			}
		}
		w.pass(min(time.Duration(1+w.rng.Int64N(int64(grain))), time.Until(end)))
	}
}

// ask makes the application do something; its statements wait until the schedule forwards them.
func (w *world) ask(what string, do func(ctx context.Context, s *store.Store) error) {
	s := w.app().store
	w.asked.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var refused *jobs.NotAllowedError
		if err := do(ctx, s); err != nil && !errors.As(err, &refused) {
			w.event("%s: %v", what, err)
		}
	})
	w.quiesce()
}

func (w *world) app() *process { return w.procs[0] }

func (w *world) of(r role) (list []*process) {
	for _, p := range w.procs {
		if p.role == r {
			list = append(list, p)
		}
	}
	return list
}

// --- the ledger

// ledger records what handlers really did, regardless of the database.
type ledger struct {
	w    *world
	mu   sync.Mutex
	runs []*run
}

type run struct {
	p       *process
	job     uuid.UUID
	lease   int
	attempt int
	ctx     context.Context
	turn    chan struct{}
	steps   int
	over    bool // it has returned, or its process died
	died    bool
	err     error
}

// live reports whether the run goes on, in a worker that has not given it up.
func (r *run) live() bool { return !r.over && !r.p.frozen && r.ctx.Err() == nil }

func (l *ledger) begin(ctx context.Context, p *process, r *jobs.Run, plan plan) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.dead {
		return nil
	}
	for _, o := range l.runs {
		if o.job == r.ID && o.lease == r.Lease {
			l.w.broken(oneRunPerLease, "job %s: two runs under lease %d", l.w.nameOf(r.ID), r.Lease)
		}
		if o.job == r.ID && o.live() && !p.frozen {
			l.w.broken(oneRun, "job %s starts in %s under lease %d, and runs in %s under lease %d",
				l.w.nameOf(r.ID), p.name, r.Lease, o.p.name, o.lease)
		}
	}
	n := &run{p: p, job: r.ID, lease: r.Lease, attempt: r.Attempt, ctx: ctx, turn: make(chan struct{}, plan.Steps+1), steps: plan.Steps}
	l.runs = append(l.runs, n)
	l.w.event("%s runs %s: attempt %d, lease %d", p.name, l.w.nameOf(r.ID), r.Attempt, r.Lease)
	return n
}

func (l *ledger) end(r *run, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.over {
		return
	}
	r.over, r.err = true, err
	l.w.event("%s: the run of %s under lease %d returns %v", r.p.name, l.w.nameOf(r.job), r.lease, err)
}

// leave ends the runs of a process that was killed.
func (l *ledger) leave(p *process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if r.p == p && !r.over {
			r.over, r.died = true, true
		}
	}
}

func (l *ledger) runsOf(id uuid.UUID) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if r.job == id {
			n++
		}
	}
	return n
}

func (l *ledger) choices() (list []step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if !r.over && !r.p.frozen && len(r.turn) == 0 && r.steps > 0 {
			list = append(list, step{"", func() { r.steps--; r.turn <- struct{}{} }})
		}
	}
	return list
}

// check requires that no two runs of one job go on in workers that are alive and have not given them up.
func (l *ledger) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := map[uuid.UUID]*run{}
	for _, r := range l.runs {
		if !r.live() {
			continue
		}
		if o := live[r.job]; o != nil {
			l.w.broken(oneRun, "job %s runs twice at once: in %s under lease %d and in %s under lease %d",
				l.w.nameOf(r.job), o.p.name, o.lease, r.p.name, r.lease)
		}
		live[r.job] = r
	}
}

// nameOf returns the number of a job in the story.
func (w *world) nameOf(id uuid.UUID) string {
	for i, j := range w.jobs {
		if j == id {
			return fmt.Sprintf("#%d", i+1)
		}
	}
	return id.String()
}

// story returns the events, one per line.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.events, "\n")
}
