package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// schedule is one run of the simulator: the deployment, and what happens to it.
// All chance in a turn comes from its seed.
type schedule struct {
	workers []workerConf
	relays  int
	keepers int
	turns   []turn
}

type turn struct {
	verb string
	who  int // a process or a job, by its number
	n    int // how many, or how long
	seed uint64
}

func (t turn) String() string { return fmt.Sprintf("%s %d %d seed %d", t.verb, t.who, t.n, t.seed) }

func (s schedule) String() string {
	var b strings.Builder
	for i, w := range s.workers {
		fmt.Fprintf(&b, "worker %d: %d slots, prefetch %d, queues %v\n", i, w.concurrency, w.prefetch, w.queues)
	}
	fmt.Fprintf(&b, "%d relays, %d schedulers\n", s.relays, s.keepers)
	for i, t := range s.turns {
		fmt.Fprintf(&b, "%3d  %s\n", i+1, t)
	}
	return b.String()
}

var queueNames = []string{"default", "other"}

// verbs and how often they are drawn.
var verbs = map[string]func(w *world, t turn){
	"run":          func(w *world, t turn) { w.run(time.Duration(1+t.n)*300*time.Millisecond, 60*time.Millisecond) },
	"run long":     func(w *world, t turn) { w.run(time.Duration(1+t.n)*4*time.Second, time.Second) },
	"stall":        func(w *world, t turn) { w.pass(time.Duration(1+t.n) * 2 * time.Second) },
	"enqueue":      (*world).enqueue,
	"kill":         func(w *world, t turn) { w.each(t, (*process).alive, (*process).kill) },
	"kill workers": func(w *world, t turn) { w.all(worker, (*process).alive, (*process).kill) },
	"start": func(w *world, t turn) {
		w.each(t, func(p *process) bool { return !p.alive() && p.over() }, (*process).start)
	},
	"start all":      func(w *world, t turn) { w.startAll() },
	"stop":           func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.stop() }) },
	"freeze":         func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.freeze(true) }) },
	"freeze workers": func(w *world, t turn) { w.all(worker, (*process).alive, func(p *process) { p.freeze(true) }) },
	"thaw":           func(w *world, t turn) { w.thawAll() },
	"cut database":   func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.cutDatabase(t.n%2 == 0) }) },
	"cut broker":     func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.cutBroker(t.n%2 == 0) }) },
	"blip":           func(w *world, t turn) { w.each(t, (*process).alive, (*process).blip) },
	"heal":           func(w *world, t turn) { w.healAll() },
	"lose answer":    func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.db.lose = true }) },
	"restart broker": func(w *world, t turn) { w.rabbit.restart() },
	"purge":          func(w *world, t turn) { w.rabbit.purge(queueNames[t.n%2]) },
	"delete queue":   func(w *world, t turn) { w.rabbit.deleteQueue(queueNames[t.n%2]) },
	"fill queue":     func(w *world, t turn) { w.rabbit.fill(queueNames[t.n%2], t.n%4 < 2) },
	"slow confirms":  func(w *world, t turn) { w.rabbit.hold(t.n%2 == 0) },
	"cancel":         func(w *world, t turn) { w.operate(t, "cancel", (*store.Store).Cancel) },
	"retry":          func(w *world, t turn) { w.operate(t, "retry", (*store.Store).Retry) },
	"run now":        func(w *world, t turn) { w.operate(t, "run now", (*store.Store).RunNow) },
	"send twice":     (*world).sendTwice,
	"dead letter":    (*world).deadLetter,
	"lock row":       (*world).lockRow,
	"unlock":         func(w *world, t turn) { w.unlock() },
}

var drawn = weighted(map[string]int{"run": 12, "run long": 8, "stall": 4, "enqueue": 8, "kill": 4, "kill workers": 2, "start": 3, "start all": 4, "stop": 3,
	"freeze": 3, "freeze workers": 1, "thaw": 3, "cut database": 2, "cut broker": 2, "blip": 3, "heal": 3, "lose answer": 4, "restart broker": 2,
	"purge": 1, "delete queue": 1, "fill queue": 1, "slow confirms": 2, "cancel": 2, "retry": 2, "run now": 1, "send twice": 2, "dead letter": 1,
	"lock row": 2, "unlock": 2})

func weighted(weights map[string]int) (list []string) {
	for _, verb := range order {
		for range weights[verb] {
			list = append(list, verb)
		}
	}
	return list
}

// order has the simplest first: schedules shrink towards it.
var order = []string{"run", "run long", "enqueue", "start all", "stall", "kill workers", "kill", "start", "stop", "thaw", "heal", "freeze", "freeze workers",
	"cut database", "cut broker", "blip", "lose answer", "restart broker", "purge", "delete queue", "fill queue", "slow confirms", "cancel", "retry", "run now",
	"send twice", "dead letter", "lock row", "unlock"}

func drawSchedule(t *rapid.T) schedule {
	conf := rapid.Custom(func(t *rapid.T) workerConf {
		c := workerConf{queues: queueNames[:1], concurrency: rapid.IntRange(1, 4).Draw(t, "slots")}
		c.prefetch = c.concurrency + rapid.IntRange(0, 3).Draw(t, "more prefetch")
		if rapid.IntRange(0, 3).Draw(t, "both queues") == 3 {
			c.queues = queueNames
		}
		return c
	})
	return schedule{
		workers: rapid.SliceOfN(conf, 1, 3).Draw(t, "workers"),
		relays:  rapid.IntRange(1, 2).Draw(t, "relays"),
		keepers: rapid.IntRange(1, 2).Draw(t, "schedulers"),
		turns:   drawTurns(t),
	}
}

// drawTurns draws several lists, as rapid's are short: one alone has six turns on average.
func drawTurns(t *rapid.T) (turns []turn) {
	list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) turn {
		return turn{rapid.SampledFrom(drawn).Draw(t, "verb"), rapid.IntRange(0, 7).Draw(t, "who"), rapid.IntRange(0, 9).Draw(t, "n"),
			rapid.Uint64Range(0, 1<<20).Draw(t, "seed")}
	}), 0, 30)
	for range 4 {
		turns = append(turns, list.Draw(t, "turns")...)
	}
	return turns
}

// play runs the schedule, lets quiet time pass, and looks at the end.
func (w *world) play(s schedule) {
	w.procs = []*process{{w: w, name: "app", role: app}}
	s.workers[0].queues = queueNames // somebody works each queue
	for i, c := range s.workers {
		w.procs = append(w.procs, &process{w: w, name: fmt.Sprintf("worker%d", i), role: worker, conf: c})
	}
	for i := range s.relays {
		w.procs = append(w.procs, &process{w: w, name: fmt.Sprintf("relay%d", i), role: relay})
	}
	for i := range s.keepers {
		w.procs = append(w.procs, &process{w: w, name: fmt.Sprintf("scheduler%d", i), role: keeper})
	}
	w.startAll()
	w.settled()
	for _, t := range s.turns {
		w.rng = rand.New(rand.NewPCG(t.seed, 1))
		w.event("--- %s", t)
		verbs[t.verb](w, t)
		w.settled()
		if w.failed() {
			return
		}
	}
	w.quiet()
	if !w.failed() {
		w.final()
	}
}

// quietMost is how long everything may take to end once all is well: the
// reconciler dispatches a job at most once in ten minutes.
const quietMost = 40 * time.Minute

// quiet mends everything and runs until every job has ended and nothing is on its way.
func (w *world) quiet() {
	w.event("--- all is well from here on")
	w.rng = rand.New(rand.NewPCG(7, 7))
	w.unlock()
	w.healAll()
	w.thawAll()
	w.rabbit.hold(false)
	for _, q := range queueNames {
		w.rabbit.fill(q, false)
	}
	for end := time.Now().Add(quietMost); time.Now().Before(end) && !w.failed(); {
		w.startAll()
		w.run(5*time.Second, 900*time.Millisecond)
		if w.atRest() {
			return
		}
	}
}

func (w *world) atRest() bool {
	w.dirty = true
	w.lookIfDirty()
	for _, s := range w.before {
		if !s.State.Ended() {
			return false
		}
	}
	ready, unacked := w.rabbit.left()
	rows := 0
	w.outside(func(p *postgres) error {
		return p.control.QueryRow(context.Background(), `SELECT count(*) FROM outbox`).Scan(&rows)
	})
	return ready+unacked+rows == 0
}

// --- what turns do

func (w *world) each(t turn, fits func(*process) bool, do func(*process)) {
	others := w.procs[1:]
	if p := others[t.who%len(others)]; fits(p) {
		w.event("%s: %s", t.verb, p.name)
		do(p)
	}
}

func (w *world) all(r role, fits func(*process) bool, do func(*process)) {
	for _, p := range w.of(r) {
		if fits(p) {
			do(p)
		}
	}
}

// over says that the last life of the process has ended, or that it had none.
func (p *process) over() bool {
	if p.stop == nil || p.dead {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (w *world) startAll() {
	for _, p := range slices.Clone(w.procs) {
		if p.over() {
			p.start()
		}
	}
}

func (w *world) thawAll() {
	for _, p := range w.procs {
		if p.alive() && p.frozen {
			p.freeze(false)
		}
	}
}

func (w *world) healAll() {
	for _, p := range w.procs {
		if p.db == nil {
			continue
		}
		p.db.mu.Lock()
		p.db.cut, p.db.mute, p.db.lose = false, false, false
		p.db.mu.Unlock()
		w.rabbit.mu.Lock()
		p.away, p.mute = false, false
		p.hush(p.frozen)
		w.rabbit.mu.Unlock()
	}
}

func (p *process) cutDatabase(noticed bool) {
	p.db.mu.Lock()
	p.db.cut, p.db.mute = noticed, !noticed
	p.db.mu.Unlock()
	if noticed {
		p.db.severAll()
	}
}

func (p *process) cutBroker(noticed bool) {
	p.w.rabbit.mu.Lock()
	p.away, p.mute = noticed, !noticed
	p.hush(!noticed || p.frozen)
	p.w.rabbit.mu.Unlock()
	if noticed {
		p.w.rabbit.leave(p)
	}
}

// blip ends all connections of the process, which can connect again at once.
func (p *process) blip() {
	p.db.severAll()
	p.w.rabbit.leave(p)
}

func (r *rabbit) fill(name string, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full[name] = full
}

func (r *rabbit) hold(slow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = slow
}

func (w *world) enqueue(t turn) {
	list := make([]jobs.NewJob, 1+t.n%4)
	for i := range list {
		list[i] = w.newJob()
		w.jobs = append(w.jobs, list[i].ID)
		w.event("enqueue %s: %s on %s, %s", w.nameOf(list[i].ID), list[i].Kind, list[i].Queue, list[i].Args)
	}
	w.ask("enqueue", func(ctx context.Context, s *store.Store) error {
		_, err := s.Enqueue(ctx, list...)
		for _, p := range w.of(relay) {
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
		return err
	})
}

func (w *world) newJob() jobs.NewJob {
	r := w.rng
	p := plan{Steps: r.IntN(3)}
	switch r.IntN(8) {
	case 0, 1, 2:
		p.Takes = time.Duration(1+r.IntN(30)) * time.Second
	case 3:
		p.Fails = 1 + r.IntN(2)
	case 4:
		p.Snoozes = 1
	case 5:
		p.Ends = []string{"cancel", "permanent", "panic"}[r.IntN(3)]
	}
	p.Stubborn = r.IntN(8) == 0
	opts := []jobs.Option{jobs.MaxAttempts(1 + r.IntN(3)), jobs.OnQueue(queueNames[r.IntN(5)/4])}
	job := jobs.New(plain{p}, opts...)
	if r.IntN(2) == 0 {
		job = jobs.New(inTx{p}, opts...)
	}
	job.ID = uuid.Must(uuid.NewV7())
	return job
}

func (w *world) operate(t turn, what string, do func(*store.Store, context.Context, uuid.UUID, jobs.By) error) {
	if len(w.jobs) == 0 {
		return
	}
	id := w.jobs[len(w.jobs)-1-t.who%len(w.jobs)]
	w.event("%s %s", what, w.nameOf(id))
	w.ask(what, func(ctx context.Context, s *store.Store) error { return do(s, ctx, id, jobs.By{Actor: "sim"}) })
}

// sendTwice has the broker hold the message of a job once more, as after a relay that died between confirm and delete.
func (w *world) sendTwice(t turn) {
	if s, ok := w.someJob(t); ok && s.Dispatch > 0 {
		dispatch := 1 + t.n%s.Dispatch
		w.rabbit.foreign(queueNames[0], jobs.Message{JobID: s.ID, Dispatch: dispatch, Type: "plain", Body: []byte(`{}`)}, w.deployment)
	}
}

// deadLetter has a message of a job among the dead letters; of one job that is not known, too.
func (w *world) deadLetter(t turn) {
	m := jobs.Message{JobID: uuid.New(), Dispatch: 1, Type: "plain", Body: []byte(`{}`)}
	if s, ok := w.someJob(t); ok && t.n%5 > 0 {
		m.JobID, m.Dispatch = s.ID, max(s.Dispatch, 1)
	}
	if t.n%5 == 1 {
		w.rabbit.foreign(queueNames[0], jobs.Message{JobID: uuid.New(), Dispatch: 1, Type: "plain", Body: []byte(`{}`)}, w.deployment)
	}
	w.rabbit.foreign(deadQueue, m, w.deployment)
}

func (w *world) someJob(t turn) (seen, bool) {
	if len(w.jobs) == 0 {
		return seen{}, false
	}
	s, ok := w.before[w.jobs[len(w.jobs)-1-t.who%len(w.jobs)]]
	return s, ok
}

// lockRow has somebody hold the row of a job, as a caller does who updates it and takes long.
func (w *world) lockRow(t turn) {
	s, ok := w.someJob(t)
	if !ok || w.locker != nil {
		return
	}
	w.event("somebody locks the row of %s", w.nameOf(s.ID))
	w.outside(func(p *postgres) error {
		b, err := p.take()
		if err != nil {
			return err
		}
		w.locker = b
		_, waits, err := p.request(b, query(fmt.Sprintf(`BEGIN; SELECT FROM jobs WHERE id = '%s' FOR UPDATE SKIP LOCKED`, s.ID)))
		if waits {
			return fmt.Errorf("locking a row waits")
		}
		return err
	})
}

func (w *world) unlock() {
	if b := w.locker; b != nil {
		w.locker = nil
		w.outside(func(p *postgres) error { return p.giveBack(b) })
	}
}
