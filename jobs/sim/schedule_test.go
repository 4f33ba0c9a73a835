package sim_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// schedule is one run of the simulator: the deployment, and what happens to it. All randomness in a
// turn comes from its seed.
type schedule struct {
	workers []workerConf
	relays  int
	keepers int
	turns   []turn
}

type turn struct {
	verb int // index in verbs
	who  int // the number of a process or a job
	n    int // how many, or how long
	seed uint64
}

func (t turn) String() string {
	return fmt.Sprintf("%s (%d, %d, seed %d)", verbs[t.verb].name, t.who, t.n, t.seed)
}

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

// verb is an action of a turn. weight is how often it is drawn, as long as no rule needs it more.
type verb struct {
	name   string
	weight int
	do     func(w *world, t turn)
}

// verbs has the simplest first: schedules shrink towards it. The last ones combine others in ways
// that chance alone would seldom produce.
var verbs = []verb{
	{"run", 4, func(w *world, t turn) { w.run(time.Duration(1+t.n)*300*time.Millisecond, 60*time.Millisecond) }},
	{"run long", 2, func(w *world, t turn) { w.run(time.Duration(1+t.n)*4*time.Second, time.Second) }},
	{"enqueue", 8, (*world).enqueue},
	{"start all", 4, func(w *world, _ turn) { w.startAll() }},
	{"kill workers", 2, func(w *world, _ turn) { w.all(worker, (*process).alive, (*process).kill) }},
	{"kill", 4, func(w *world, t turn) { w.each(t, (*process).alive, (*process).kill) }},
	{"stop", 3, func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.stop() }) }},
	{"start", 2, func(w *world, t turn) { w.each(t, (*process).over, start) }},
	{"stall", 3, func(w *world, t turn) { w.pass(time.Duration(1+t.n) * 2 * time.Second) }},
	{"freeze", 3, func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.freeze(true) }) }},
	{"freeze workers", 1, func(w *world, _ turn) { w.all(worker, (*process).alive, func(p *process) { p.freeze(true) }) }},
	{"thaw", 3, func(w *world, _ turn) { w.thawAll() }},
	{"cut database", 2, func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.cutDatabase(t.n%2 == 0) }) }},
	{"cut broker", 2, func(w *world, t turn) { w.each(t, (*process).alive, func(p *process) { p.cutBroker(t.n%2 == 0) }) }},
	{"blip", 3, func(w *world, t turn) { w.each(t, (*process).alive, (*process).blip) }},
	{"heal", 3, func(w *world, _ turn) { w.healAll() }},
	{"restart broker", 2, func(w *world, _ turn) { w.rabbit.restart() }},
	{"purge", 1, func(w *world, t turn) { w.rabbit.purge(queueNames[t.n%2]) }},
	{"delete queue", 1, func(w *world, t turn) { w.rabbit.deleteQueue(queueNames[t.n%2]) }},
	{"slow confirms", 3, func(w *world, t turn) { w.rabbit.hold(t.n%2 == 0) }},
	{"cancel", 5, func(w *world, t turn) { w.operate(t, "cancel", (*store.Store).Cancel) }},
	{"retry", 2, func(w *world, t turn) { w.operate(t, "retry", (*store.Store).Retry) }},
	{"run now", 1, func(w *world, t turn) { w.operate(t, "run now", (*store.Store).RunNow) }},
	{"lock rows", 2, func(w *world, t turn) { w.lockRows(t, 2, jobs.Running, jobs.Queued) }},
	{"unlock", 2, func(w *world, _ turn) { w.unlock() }},
	{"lose answers", 8, mostlyWell((*world).loseAnswers)},
	{"send twice", 11, mostlyWell((*world).sendTwice)},
	{"second message", 6, mostlyWell((*world).secondMessage)},
	{"dead letters", 9, mostlyWell((*world).deadLetters)},
	{"unknown jobs", 7, mostlyWell((*world).unknownJobs)},
	{"outage", 8, mostlyWell((*world).outage)},
	{"frozen outage", 23, mostlyWell((*world).frozenOutage)},
	{"late results", 14, mostlyWell((*world).lateResults)},
	{"short cut", 10, mostlyWell((*world).shortCut)},
	{"late claims", 6, mostlyWell((*world).lateClaims)},
	{"crash loop", 1, mostlyWell((*world).crashLoop)},
	{"cancel and crash", 13, mostlyWell((*world).cancelAndCrash)},
	{"deploy", 5, mostlyWell((*world).deploy)},
	{"full queue", 7, mostlyWell((*world).fullQueue)},
	{"lost messages", 12, mostlyWell((*world).lostMessages)},
	{"held rows", 18, mostlyWell((*world).heldRows)},
	{"held queue", 9, mostlyWell((*world).heldQueue)},
	{"steady load", 1, (*world).steadyLoad},
}

// drawn returns the number of each verb as often as its weight. Verbs that meet one of the rules
// that were met least so far are added, each as often as all others together.
func drawn(least []string) (list []int) {
	for i, v := range verbs {
		for range v.weight {
			list = append(list, i)
		}
	}
	extra := len(list)
	for i, v := range verbs {
		for _, name := range least {
			if v.name == meets[name] {
				list = append(list, slices.Repeat([]int{i}, extra)...)
			}
		}
	}
	return list
}

func drawSchedule(t *rapid.T, drawn []int, lists int) schedule {
	conf := rapid.Custom(func(t *rapid.T) workerConf {
		c := workerConf{queues: queueNames[:1], concurrency: 1 + evenly(t, "slots", 4)}
		c.prefetch = c.concurrency + evenly(t, "more prefetch", 2)
		if rapid.IntRange(0, 3).Draw(t, "both queues") == 3 {
			c.queues = queueNames
		}
		return c
	})
	n := min(1+evenly(t, "more workers", 2), 3)
	return schedule{
		workers: rapid.SliceOfN(conf, n, n).Draw(t, "workers"),
		relays:  rapid.IntRange(1, 2).Draw(t, "relays"),
		keepers: rapid.IntRange(1, 2).Draw(t, "schedulers"),
		turns:   drawTurns(t, drawn, lists),
	}
}

// drawTurns draws several lists, as rapid's are short: one alone has six turns on average.
func drawTurns(t *rapid.T, drawn []int, lists int) (turns []turn) {
	list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) turn {
		return turn{drawn[evenly(t, "verb", 12)%len(drawn)], evenly(t, "who", 3), evenly(t, "n", 3), rapid.Uint64Range(0, 1<<20).Draw(t,
			"seed")}
	}), 0, 30)
	for range lists {
		turns = append(turns, list.Draw(t, "turns")...)
	}
	return turns
}

// evenly draws a number of that many bits. rapid's own numbers are mostly small.
func evenly(t *rapid.T, label string, bits int) (n int) {
	for _, b := range rapid.SliceOfN(rapid.Bool(), bits, bits).Draw(t, label) {
		n *= 2
		if b {
			n++
		}
	}
	return n
}

// play runs the schedule, lets quiet time pass, and checks the end.
func (w *world) play(s schedule) {
	w.procs = []*process{{w: w, name: "app", role: app}}
	s.workers[0].queues = queueNames // so that each queue has a worker
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
	w.quiesce()
	for _, t := range s.turns {
		if w.over() {
			break
		}
		w.rng = rand.New(rand.NewPCG(t.seed, 1))
		w.event("--- %s", t)
		verbs[t.verb].do(w, t)
		w.quiesce()
		w.lookAtAll()
		if w.failed() {
			return
		}
	}
	w.ended = true
	if w.early || w.over() { // a schedule that is cut short has no end to check
		return
	}
	w.quiet()
	if !w.failed() {
		w.final()
	}
}

// quietMost is how long it may take until the next job ends once all is well: the
// reconciler dispatches a job at most once in ten minutes.
const quietMost = 40 * time.Minute

// quiet repairs everything and runs until every job has ended and nothing is in flight.
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
	left := w.notEnded()
	for end := time.Now().Add(quietMost); time.Now().Before(end) && !w.failed(); {
		w.startAll()
		w.run(5*time.Second, 900*time.Millisecond)
		w.lookAtAll()
		if n := w.notEnded(); n < left {
			left, end = n, time.Now().Add(quietMost)
		}
		if left == 0 && w.allGone() {
			return
		}
	}
}

// notEnded counts the jobs that have not ended.
func (w *world) notEnded() (n int) {
	for _, s := range w.before {
		if !s.State.Ended() {
			n++
		}
	}
	return n
}

// allGone reports whether outbox and broker are empty.
func (w *world) allGone() bool {
	ready, unacked := w.rabbit.left()
	rows := 0
	w.outside(func(p *postgres) error {
		return p.control.QueryRow(context.Background(), `SELECT count(*) FROM warren.outbox`).Scan(&rows)
	})
	return ready+unacked+rows == 0
}

// --- what turns do

func (w *world) each(t turn, fits func(*process) bool, do func(*process)) {
	others := w.procs[1:]
	if p := others[t.who%len(others)]; fits(p) {
		w.event("to %s", p.name)
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

// over reports whether the process has ended, or has never run.
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
			start(p)
		}
	}
}

// mostlyWell repairs everything before the turn, three times out of four.
func mostlyWell(do func(*world, turn)) func(*world, turn) {
	return func(w *world, t turn) {
		if w.rng.IntN(4) > 0 {
			w.mend()
		}
		do(w, t)
	}
}

// mend makes every process run, with all its connections.
func (w *world) mend() {
	w.unlock()
	w.healAll()
	w.thawAll()
	w.startAll()
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
		if p.db != nil {
			p.heal()
		}
	}
}

// heal gives the process its network back.
func (p *process) heal() {
	p.db.mu.Lock()
	p.db.cut, p.db.mute, p.db.lose = false, false, ""
	p.db.mu.Unlock()
	p.w.rabbit.mu.Lock()
	p.away, p.mute = false, false
	p.hush(p.frozen)
	p.w.rabbit.mu.Unlock()
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

func (w *world) enqueue(t turn) { w.enqueueSome(t, "", 0) }

// enqueueLong adds jobs that take up to that many seconds each.
func (w *world) enqueueLong(t turn, seconds int) { w.enqueueSome(t, "", seconds) }

// enqueueSome adds jobs to that queue (to any if empty) that take up to that many seconds each (at
// random if 0).
func (w *world) enqueueSome(t turn, queue string, seconds int) {
	list := make([]jobs.NewJob, 1+4*t.n)
	for i := range list {
		list[i] = w.newJob(cmp.Or(queue, queueNames[w.rng.IntN(5)/4]), seconds)
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

func (w *world) newJob(queue string, seconds int) jobs.NewJob {
	r := w.rng
	p := plan{Steps: r.IntN(3)}
	switch r.IntN(10) {
	case 0, 1, 2:
		p.Takes = time.Duration(1+r.IntN(5)*(1+r.IntN(6))) * time.Second
	case 3:
		p.Fails = 1 + r.IntN(2)
	case 4:
		p.Snoozes = 1 + r.IntN(2)
	case 5, 6, 7, 8:
		p.Ends = []string{"cancel", "cancel", "cancel", "permanent", "panic", "rollback", "rollback", "rollback", "rollback"}[r.IntN(9)]
	}
	if seconds > 0 {
		p.Takes = time.Duration(1+r.IntN(seconds)) * time.Second
	}
	p.Stubborn = w.stubborn || r.IntN(4) == 0
	opts := []jobs.Option{jobs.MaxAttempts(1 + r.IntN(3)), jobs.OnQueue(queue)}
	job := jobs.New(plain{p}, opts...)
	if r.IntN(5) < 3 {
		job = jobs.New(inTx{p}, opts...)
	}
	job.ID = uuid.Must(uuid.NewV7())
	return job
}

func (w *world) operate(t turn, what string, do func(*store.Store, context.Context, uuid.UUID, jobs.Actor) error) {
	if len(w.jobs) == 0 {
		return
	}
	id := w.jobs[len(w.jobs)-1-t.who%len(w.jobs)]
	w.event("%s %s", what, w.nameOf(id))
	w.ask(what, func(ctx context.Context, s *store.Store) error { return do(s, ctx, id, jobs.Actor{Name: "sim"}) })
}

// some lists the jobs in one of these states, the newest first.
func (w *world) some(states ...jobs.State) (list []seen) {
	for _, id := range slices.Backward(w.jobs) {
		if s, ok := w.before[id]; ok && slices.Contains(states, s.State) {
			list = append(list, s)
		}
	}
	return list
}

func first[T any](n int, list []T) []T { return list[:min(n, len(list))] }

// message returns the message that a relay would send for that dispatch.
func (s seen) message(dispatch int) engine.Message {
	return engine.Message{JobID: s.ID, Dispatch: dispatch, Type: "plain", Body: []byte(`{}`)}
}

// sendTwice puts messages of jobs into the broker once more, like a relay that died between confirm
// and delete.
func (w *world) sendTwice(t turn) {
	w.enqueueLong(turn{n: t.n % 3}, 5)
	w.run(time.Duration(1+t.who)*200*time.Millisecond, 100*time.Millisecond)
	if s, ok := w.someJob(t); ok && s.Dispatch > 0 {
		w.rabbit.foreign(queueNames[0], s.message(1+t.n%s.Dispatch), w.deployment)
	}
	for _, s := range first(4+6*t.n, w.some(jobs.Running)) {
		for range 3 {
			for _, q := range queueNames {
				w.rabbit.foreign(q, s.message(s.Dispatch), w.deployment)
			}
		}
	}
	w.run(time.Second, 100*time.Millisecond)
}

// deadLetters puts messages of jobs into the dead-letter queue: of some that wait, for which there
// may be no worker, and of others.
func (w *world) deadLetters(t turn) {
	others := 20
	if t.n%2 == 0 {
		w.all(worker, (*process).alive, (*process).kill)
		others = 4
	}
	w.enqueue(turn{n: t.n + 2})
	w.run(time.Duration(1+t.who)*50*time.Millisecond, 50*time.Millisecond)
	list := append(first(24, w.some(jobs.Queued)), first(others, w.some(jobs.Running, jobs.Retrying, jobs.Completed, jobs.Cancelled))...)
	for _, s := range list {
		if s.Dispatch > 0 {
			w.rabbit.foreign(deadQueue, s.message(s.Dispatch), w.deployment)
		}
	}
	if t.n%4 == 1 {
		w.lockRows(t, 14, jobs.Queued)
		w.run(4*time.Second, 500*time.Millisecond)
		w.unlock()
	}
	w.run(time.Second, 250*time.Millisecond)
	w.startAll()
}

// secondMessage puts a second message of running jobs into the broker. Their worker then loses the
// database, and the second message is redelivered to other workers, which is no evidence about the
// holder.
func (w *world) secondMessage(t turn) {
	w.enqueueLong(turn{n: t.n % 2}, 20)
	w.run(time.Second, 100*time.Millisecond)
	workers := w.of(worker)
	holder := workers[t.who%len(workers)]
	for _, s := range first(4, w.some(jobs.Running)) {
		for _, q := range queueNames {
			w.rabbit.foreign(q, s.message(s.Dispatch), w.deployment)
		}
	}
	w.run(300*time.Millisecond, 50*time.Millisecond)
	if holder.alive() {
		w.event("to %s", holder.name)
		holder.cutDatabase(true)
	}
	for range 4 {
		w.run(time.Second, 100*time.Millisecond)
		for _, p := range workers {
			if p != holder {
				w.rabbit.leave(p)
			}
		}
	}
	w.run(time.Second, 100*time.Millisecond)
	w.healAll()
}

// loseAnswers loses the answers to some statements: they are committed, but the caller does not know.
func (w *world) loseAnswers(t turn) {
	statement := []string{"claim", "claim", "complete", "CompleteTx", "commit", "release", "remove sent", "dispatch"}[t.n]
	for _, p := range w.procs {
		if p.alive() {
			p.db.lose = statement
		}
	}
	w.enqueue(turn{n: t.who % 4})
	if t.who%2 == 0 {
		w.run(2*time.Second, 300*time.Millisecond)
		return
	}
	w.run(300*time.Millisecond, 50*time.Millisecond)
	for _, p := range w.of(worker) { // a claim that is repeated comes too late for its message
		w.rabbit.leave(p)
	}
	w.run(2*time.Second, 300*time.Millisecond)
}

// unknownJobs puts messages into the broker whose jobs the database does not have.
func (w *world) unknownJobs(t turn) {
	for range 16 + 10*t.n {
		for _, q := range []string{queueNames[0], deadQueue} {
			w.rabbit.foreign(q, seen{ID: uuid.New()}.message(1), w.deployment)
		}
	}
}

// outage kills all workers for longer than lease and reconciler need, and longer the larger n is.
func (w *world) outage(t turn) {
	w.enqueue(t)
	w.run(time.Duration(1+t.who)*time.Second, 200*time.Millisecond)
	w.all(worker, (*process).alive, (*process).kill)
	w.run(time.Duration(16+3*t.n)*time.Second, time.Second)
	w.startAll()
}

// frozenOutage freezes all workers, or all but one, which gets the jobs of the others.
func (w *world) frozenOutage(t turn) {
	w.stubborn = true // their results come late
	w.enqueueLong(t, 20)
	w.stubborn = false
	w.run(time.Duration(1+t.who)*500*time.Millisecond, 200*time.Millisecond)
	for i, p := range w.of(worker) {
		if (i != t.who%3 || t.n < 2) && p.alive() {
			p.freeze(true)
		}
	}
	w.run(time.Duration(20+t.n)*time.Second, 1500*time.Millisecond)
	w.thawAll()
	w.run(4*time.Second, 200*time.Millisecond)
}

// lateResults cuts workers off from both servers until others have their jobs. The results of their
// runs come late.
func (w *world) lateResults(t turn) {
	w.stubborn = true
	w.enqueueLong(turn{n: 2 + t.n%4}, 12)
	w.stubborn = false
	w.run(1200*time.Millisecond, 200*time.Millisecond)
	for i, p := range w.of(worker) {
		if (i != t.who%3 || t.n%2 == 0) && p.alive() {
			p.cutDatabase(true)
			p.cutBroker(true)
		}
	}
	w.run(time.Duration(20+t.n)*time.Second, 2*time.Second)
	w.healAll()
	w.run(6*time.Second, 500*time.Millisecond)
}

// shortCut cuts a worker off from both servers for some seconds while all its slots are busy: too
// short for its session to expire.
func (w *world) shortCut(t turn) {
	w.enqueueLong(t, 20)
	w.run(time.Duration(1+t.who)*500*time.Millisecond, 200*time.Millisecond)
	workers := w.of(worker)
	if p := workers[t.who%len(workers)]; p.alive() {
		w.event("to %s", p.name)
		p.cutDatabase(true)
		p.cutBroker(true)
	}
	w.run(time.Duration(3+t.n)*time.Second, 300*time.Millisecond)
	w.healAll()
	w.run(time.Second, 100*time.Millisecond)
}

// lateClaims keeps a worker's claim in flight for so long that the broker gives its messages to
// another worker, which claims them first and then cannot renew.
func (w *world) lateClaims(t turn) {
	workers := w.of(worker)
	late, next := t.who%len(workers), (t.who+1)%len(workers)
	if late == next {
		return
	}
	w.enqueueLong(t, 20)
	w.run(200*time.Millisecond, 50*time.Millisecond)
	w.all(worker, (*process).alive, (*process).kill)
	w.startAll()
	workers = w.of(worker)
	for _, p := range workers {
		p.cutBroker(true)
	}
	w.run(300*time.Millisecond, 50*time.Millisecond)
	workers[late].heal()
	workers[late].cutDatabase(false)
	w.run(time.Second, 100*time.Millisecond)
	w.rabbit.leave(workers[late])
	workers[next].heal()
	w.run(time.Second, 100*time.Millisecond)
	workers[next].cutDatabase(true)
	w.run(2500*time.Millisecond+time.Duration(t.n)*200*time.Millisecond, 100*time.Millisecond)
	workers[late].heal()
	w.run(2*time.Second, 100*time.Millisecond)
	w.healAll()
}

// crashLoop kills the workers again and again while they run something.
func (w *world) crashLoop(t turn) {
	w.enqueueLong(t, 30)
	for range 1 + t.who%4 {
		w.run(7*time.Second, time.Second)
		w.all(worker, (*process).alive, (*process).kill)
		if t.n%3 == 0 {
			w.operate(t, "cancel", (*store.Store).Cancel)
		}
		w.startAll()
	}
	w.run(7*time.Second, time.Second)
}

// cancelAndCrash asks running jobs to stop and kills their workers at once, again and again.
func (w *world) cancelAndCrash(t turn) {
	w.enqueueLong(t, 20)
	w.run(time.Duration(1+t.who)*300*time.Millisecond, 100*time.Millisecond)
	for range 3 {
		for _, s := range first(2+2*t.n, w.some(jobs.Running)) {
			w.event("cancel %s", w.nameOf(s.ID))
			w.ask("cancel", func(ctx context.Context, st *store.Store) error { return st.Cancel(ctx, s.ID, jobs.Actor{Name: "sim"}) })
		}
		w.run(200*time.Millisecond, 50*time.Millisecond)
		w.all(worker, (*process).alive, (*process).kill)
		w.startAll()
		w.run(4*time.Second, 500*time.Millisecond)
	}
}

// deploy stops all workers as a deployment does, and starts new ones.
func (w *world) deploy(t turn) {
	w.enqueueLong(t, 20)
	w.run(time.Duration(1+t.who)*300*time.Millisecond, 100*time.Millisecond)
	w.all(worker, (*process).alive, func(p *process) { p.stop() })
	w.run(time.Duration(4+t.n)*time.Second, 500*time.Millisecond)
	w.startAll()
}

// fullQueue makes a queue refuse messages for a while.
func (w *world) fullQueue(t turn) {
	w.rabbit.fill(queueNames[0], true)
	w.enqueueSome(turn{n: t.n%4 + 3}, queueNames[0], 0)
	w.run(time.Duration(1+t.n)*2*time.Second, 500*time.Millisecond)
	w.rabbit.fill(queueNames[0], false)
}

// lostMessages makes the broker lose the messages of a queue, or the queue itself.
func (w *world) lostMessages(t turn) {
	w.all(worker, (*process).alive, (*process).kill)
	q := queueNames[min(t.n%3, 1)]
	w.enqueueSome(turn{n: t.n + 8}, q, 0)
	w.run(time.Second, 200*time.Millisecond)
	if t.n%3 == 0 {
		w.rabbit.purge(q)
		w.run(40*time.Second, time.Second)
		return
	}
	for range 16 + t.who { // a relay that sends to the queue declares it again
		w.rabbit.deleteQueue(q)
		w.run(3*time.Second, time.Second)
	}
}

// heldRows locks the rows of running jobs for longer than their runs take.
func (w *world) heldRows(t turn) {
	w.enqueueLong(turn{n: t.n + 2}, 6)
	w.run(time.Duration(1+t.who)*300*time.Millisecond, 100*time.Millisecond)
	w.lockRows(t, 20, jobs.Running)
	w.run(time.Duration(5+t.n)*time.Second, 500*time.Millisecond)
	w.unlock()
}

// heldQueue locks the rows of waiting jobs for a moment.
func (w *world) heldQueue(t turn) {
	w.enqueue(turn{n: t.n + 2})
	w.run(100*time.Millisecond, 50*time.Millisecond)
	w.lockRows(t, 16, jobs.Queued)
	w.run(time.Duration(1+t.n)*100*time.Millisecond, 100*time.Millisecond)
	w.unlock()
}

// steadyLoad enqueues for longer than it takes until the reconciler considers a job overtaken.
func (w *world) steadyLoad(t turn) {
	w.startAll()
	w.rabbit.purge(queueNames[0])
	for range 8 {
		w.enqueue(turn{n: 0})
		w.run(10*time.Second, time.Second)
	}
}

func (w *world) someJob(t turn) (seen, bool) {
	if len(w.jobs) == 0 {
		return seen{}, false
	}
	s, ok := w.before[w.jobs[len(w.jobs)-1-t.who%len(w.jobs)]]
	return s, ok
}

// lockRows locks the rows of up to n jobs in one of these states, like a caller that updates them
// in a long transaction.
func (w *world) lockRows(t turn, n int, states ...jobs.State) {
	list := w.some(states...)
	if len(list) == 0 || w.locker != nil {
		return
	}
	var ids []string
	for _, s := range first(n, list[t.who%len(list):]) {
		w.event("somebody locks the row of %s", w.nameOf(s.ID))
		ids = append(ids, "'"+s.ID.String()+"'")
	}
	w.outside(func(p *postgres) error {
		b, err := p.take()
		if err != nil {
			return err
		}
		w.locker = b
		lock := fmt.Sprintf(`BEGIN; SELECT FROM warren.jobs WHERE id IN (%s) FOR UPDATE SKIP LOCKED`, strings.Join(ids, ","))
		_, waits, err := p.request(b, query(lock))
		if waits {
			return fmt.Errorf("locking a row waits")
		}
		return err
	})
}

func (w *world) unlock() {
	if b := w.locker; b != nil {
		w.locker, w.freed = nil, true
		w.outside(func(p *postgres) error { return p.giveBack(b) })
	}
}
