//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// storm is one way to break things. It ends when what it broke is whole again;
// the jobs that it hit may still be on their way.
type storm struct {
	name  string
	brief bool // part of the short form, which may run beside others on the same servers
	rage  func(context.Context, *chaos) error
}

func storms() []storm {
	return []storm{
		{"crash-order-committed", true, func(ctx context.Context, c *chaos) error {
			return c.crash(ctx, c.fleet.producer,
				crashOrderCommitted)
		}},
		{"crash-relay-claimed", true, func(ctx context.Context, c *chaos) error {
			return c.crash(ctx, c.relay(),
				engine.CrashRelayClaimed)
		}},
		{"crash-relay-published", true, func(ctx context.Context, c *chaos) error {
			return c.crash(ctx, c.relay(),
				engine.CrashRelayPublished)
		}},
		{"crash-relay-confirmed", true, func(ctx context.Context, c *chaos) error {
			return c.crash(ctx, c.relay(),
				engine.CrashRelayConfirmed)
		}},
		{"crash-job-claimed", true, func(ctx context.Context, c *chaos) error { return c.crash(ctx, c.worker(), engine.CrashJobClaimed) }},
		{"crash-in-handler", true, func(ctx context.Context, c *chaos) error { return c.crash(ctx, c.worker(), crashInHandler) }},
		{"crash-before-commit", true, func(ctx context.Context, c *chaos) error { return c.crash(ctx, c.worker(), crashBeforeCommit) }},
		{"crash-job-written", true, func(ctx context.Context, c *chaos) error { return c.crash(ctx, c.worker(), engine.CrashJobWritten) }},
		{"worker-killed", true, killWorker},
		{"scheduler-killed", false, func(_ context.Context, c *chaos) error { return c.killed(c.fleet.scheduler) }},
		{"relay-killed", false, func(_ context.Context, c *chaos) error { return c.killed(c.relay()) }},
		{"rolling-restarts", false, rollingRestarts},
		{"connections-cut", true, cutConnections},
		{"answers-of-the-database-lost", true, loseDatabaseAnswers},
		{"answers-of-the-broker-lost", true, loseBrokerAnswers},
		{"backends-terminated", true, terminateBackends},
		{"worker-stopped-and-continued", false, stopWorker},
		{"worker-stopped-in-a-transaction", false, stopWorkerInTransaction},
		{"worker-half-open", false, halfOpenWorker},
		{"worker-without-network", false, isolateWorker},
		{"relay-stopped-with-rows", false, stopRelayWithRows},
		{"relay-half-open", false, halfOpenRelay},
		{"clocks-off", false, clocksOff},
		{"queue-deleted", false, deleteQueue},
		{"queue-purged", false, purgeQueue},
		{"queue-full", false, fillQueue},
		{"memory-alarm", false, alarm},
		{"all-workers-killed", false, awayAll(fewLong, killing)},
		{"all-workers-killed-with-prefetched-messages", false, awayAll(manyLong, killing)},
		{"all-workers-frozen", false, awayAll(fewLong, freezing)},
		{"all-workers-frozen-with-prefetched-messages", false, awayAll(manyLong, freezing)},
		{"all-workers-killed-or-frozen", false, awayAll(fewLong, killing, freezing)},
		{"all-workers-without-network", false, awayAll(fewLong, isolating)},
		{"all-workers-without-broker", false, awayAll(manyLong, isolatingFromBroker)},
		{"all-workers-without-database", false, awayAll(fewLong, isolatingFromDatabase)},
		{"broker-restarted", false, func(ctx context.Context, c *chaos) error { return c.servers.restartRabbitMQ(ctx, false) }},
		{"broker-killed", false, func(ctx context.Context, c *chaos) error { return c.servers.restartRabbitMQ(ctx, true) }},
		{"database-restarted", false, func(ctx context.Context, c *chaos) error { return c.servers.restartPostgres(ctx, false) }},
		{"database-killed", false, func(ctx context.Context, c *chaos) error { return c.servers.restartPostgres(ctx, true) }},
	}
}

// clusterStorms take away servers that have replicas.
func clusterStorms() []storm {
	return []storm{
		{"leader-of-the-queue-killed", false, killLeader},
		{"database-failed-over", false, failOver},
		{"worker-killed-in-a-cluster", false, killWorker},
	}
}

// killLeader kills the node that leads the queue and brings it back when the others have taken over.
func killLeader(ctx context.Context, c *chaos) error {
	c.burst(ctx, 50)
	node, err := c.leader(ctx)
	if err != nil {
		return err
	}
	c.servers.cluster.Kill(node)
	sleep(ctx, c.between(10*time.Second, 15*time.Second))
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	return c.servers.cluster.Restart(ctx, node)
}

// leader returns the node that leads the queue. It waits until the management API knows the queue,
// seconds after it was declared.
func (c *chaos) leader(ctx context.Context) (node int, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		node, err = c.servers.cluster.Leader(ctx, "/", queue)
		if err == nil || !sleep(ctx, 200*time.Millisecond) {
			return node, err
		}
	}
}

// failOver kills the primary and promotes its synchronous standby, which gets a standby of its own.
func failOver(ctx context.Context, c *chaos) error {
	c.servers.pair.Kill()
	sleep(ctx, c.between(time.Second, 3*time.Second))
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := c.servers.pair.Promote(ctx); err != nil {
		return err
	}
	return c.servers.pair.Rejoin(ctx)
}

func (c *chaos) relay() *slot  { return c.fleet.relays[c.random.IntN(len(c.fleet.relays))] }
func (c *chaos) worker() *slot { return c.fleet.workers[c.random.IntN(len(c.fleet.workers))] }

// between returns a random time: faults must not come in step with what they hit.
func (c *chaos) between(from, to time.Duration) time.Duration {
	return from + time.Duration(c.random.Int64N(int64(to-from)))
}

// crash kills the process at the point.
func (c *chaos) crash(ctx context.Context, s *slot, p engine.CrashPoint) error {
	died, at, err := s.crashAt(ctx, p, 1+c.random.IntN(20))
	if err == nil && s.isWorker() {
		c.absences = append(c.absences, absence{worker: died, from: at, until: forever})
	}
	return err
}

func (c *chaos) killed(s *slot) error {
	s.kill()
	return s.start()
}

// killWorker kills a worker in the middle of its work. It comes back late, so
// that others must do the work.
func killWorker(ctx context.Context, c *chaos) error {
	w := c.worker()
	if err := c.untilBusy(ctx, w); err != nil {
		return err
	}
	c.absences = append(c.absences, absence{worker: w.processName(), from: time.Now(), until: forever})
	w.kill()
	sleep(ctx, c.between(time.Second, 3*time.Second))
	return w.start()
}

// busy counts the jobs that the worker runs.
const busy = `SELECT count(*) FROM warren.jobs WHERE state = 'running' AND worker = $1`

// untilBusy waits until the worker runs several jobs.
func (c *chaos) untilBusy(ctx context.Context, w *slot) error {
	left, err := c.ledger.await(ctx, crashWait, `SELECT CASE WHEN (`+busy+`) >= 2 THEN 0 ELSE 1 END`, w.processName())
	if err == nil && left > 0 {
		err = fmt.Errorf("%s never runs several jobs", w.name)
	}
	return err
}

// rollingRestarts redeploys under load: every process once, and the workers over and over while
// they hold many messages whose jobs have not started.
func rollingRestarts(ctx context.Context, c *chaos) error {
	for _, s := range c.fleet.system() {
		if err := s.restart(); err != nil {
			return err
		}
	}
	c.burst(ctx, 300)
	for n := range 25 {
		if err := c.fleet.workers[n%len(c.fleet.workers)].restart(); err != nil {
			return err
		}
	}
	return nil
}

func cutConnections(ctx context.Context, c *chaos) error {
	for _, s := range c.fleet.system() {
		s.pg.cut()
		sleep(ctx, c.between(0, 200*time.Millisecond))
		s.amqp.cut()
		sleep(ctx, c.between(0, 200*time.Millisecond))
	}
	return nil
}

// loseDatabaseAnswers drops the database's answers: statements and commits are executed, and their
// senders see a broken connection.
func loseDatabaseAnswers(ctx context.Context, c *chaos) error {
	for _, s := range []*slot{c.fleet.producer, c.relay(), c.worker(), c.worker(), c.fleet.scheduler} {
		s.pg.loseAnswers(c.between(100*time.Millisecond, 500*time.Millisecond))
		sleep(ctx, 100*time.Millisecond)
	}
	return nil
}

// loseBrokerAnswers drops the broker's answers: confirms and deliveries are lost, publishes and
// acks are not.
func loseBrokerAnswers(ctx context.Context, c *chaos) error {
	for _, s := range append(c.fleet.relays, c.worker()) {
		s.amqp.loseAnswers(c.between(100*time.Millisecond, 500*time.Millisecond))
		sleep(ctx, 100*time.Millisecond)
	}
	return nil
}

func terminateBackends(ctx context.Context, c *chaos) error {
	for range 3 {
		_, err := c.ledger.number(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()
			AND pid <> pg_backend_pid()`)
		if err != nil {
			return err
		}
		sleep(ctx, c.between(100*time.Millisecond, 700*time.Millisecond))
	}
	return nil
}

// freezeWait is longer than a frozen worker may take to be replaced.
const freezeWait = 60 * time.Second

// untilReplaced freezes a busy worker, waits until others have all its jobs, and resumes it.
func untilReplaced(ctx context.Context, c *chaos, w *slot, freeze, thaw func()) error {
	if err := c.untilBusy(ctx, w); err != nil {
		return err
	}
	freeze()
	return replaced(ctx, c, w, thaw)
}

// replaced waits until others have all jobs of the worker, which has just been frozen, and until
// those are done: no job may need the worker to come back.
func replaced(ctx context.Context, c *chaos, w *slot, thaw func()) error {
	from := time.Now()
	left, err := c.ledger.await(ctx, freezeWait, busy, w.processName())
	err = errors.Join(err, c.balance(ctx, false))
	c.absences = append(c.absences, absence{worker: w.processName(), from: from, until: time.Now(), frozen: true})
	thaw()
	if err == nil && left > 0 {
		err = fmt.Errorf("%s was frozen for %s and %d of its jobs were not taken from it", w.name, freezeWait, left)
	}
	return err
}

// stopWorker freezes a worker. When it resumes it believes that it still holds its jobs, and its
// late results must not count.
func stopWorker(ctx context.Context, c *chaos) error {
	w := c.worker()
	return untilReplaced(ctx, c, w, w.freeze, w.thaw)
}

// isolateWorker cuts a worker off from the whole network.
func isolateWorker(ctx context.Context, c *chaos) error {
	w := c.worker()
	return untilReplaced(ctx, c, w, func() { w.pg.freeze(); w.amqp.freeze() }, func() { w.pg.thaw(); w.amqp.thaw() })
}

// halfOpenWorker silently stalls the connections of a worker; new ones work. The stalled data is
// released in the end: late statements must not count either.
func halfOpenWorker(ctx context.Context, c *chaos) error {
	w := c.worker()
	return untilReplaced(ctx, c, w, func() { w.pg.halfOpen(); w.amqp.halfOpen() }, func() { w.pg.thaw(); w.amqp.thaw() })
}

// stopWorkerInTransaction freezes a worker that holds the lock of a job's row, which others need to
// give the job to another worker.
func stopWorkerInTransaction(ctx context.Context, c *chaos) error {
	w := c.worker()
	if err := w.stopAt(ctx, crashBeforeCommit, 1+c.random.IntN(20)); err != nil {
		return err
	}
	return replaced(ctx, c, w, w.thaw)
}

// stopRelayWithRows freezes a relay that holds rows: the rows must not wait for it.
func stopRelayWithRows(ctx context.Context, c *chaos) error {
	r := c.relay()
	if err := r.stopAt(ctx, engine.CrashRelayPublished, 1+c.random.IntN(20)); err != nil {
		return err
	}
	return relayed(ctx, c, r.thaw)
}

// halfOpenRelay stalls the connections of both relays: they must notice.
func halfOpenRelay(ctx context.Context, c *chaos) error {
	c.burst(ctx, 50)
	for _, r := range c.fleet.relays {
		r.pg.halfOpen()
		r.amqp.halfOpen()
	}
	return relayed(ctx, c, func() {
		for _, r := range c.fleet.relays {
			r.pg.thaw()
			r.amqp.thaw()
		}
	})
}

// relayed waits until the rows that are in the outbox now have left it, and then resumes the frozen
// relays.
func relayed(ctx context.Context, c *chaos, thaw func()) error {
	last, err := c.ledger.number(ctx, `SELECT coalesce(max(id), 0) FROM warren.outbox`)
	if err != nil {
		thaw()
		return err
	}
	left, err := c.ledger.await(ctx, freezeWait, `SELECT count(*) FROM warren.outbox WHERE id <= $1`, last)
	err = errors.Join(err, c.balance(ctx, false))
	thaw()
	if err == nil && left > 0 {
		err = fmt.Errorf("relays were frozen for %s and %d rows stayed in the outbox", freezeWait, left)
	}
	return err
}

// leaving is one way in which a worker goes away and comes back.
type leaving struct {
	leave func(*slot)
	back  func(*slot) error
}

var (
	killing               = leaving{(*slot).kill, func(w *slot) error { return w.start() }}
	freezing              = leaving{(*slot).freeze, func(w *slot) error { w.thaw(); return nil }}
	isolating             = cuttingOff(func(w *slot) []*proxy { return []*proxy{w.pg, w.amqp} })
	isolatingFromBroker   = cuttingOff(func(w *slot) []*proxy { return []*proxy{w.amqp} })
	isolatingFromDatabase = cuttingOff(func(w *slot) []*proxy { return []*proxy{w.pg} })
)

// cuttingOff returns a leaving that cuts a worker off from these servers.
func cuttingOff(from func(*slot) []*proxy) leaving {
	return leaving{
		func(w *slot) {
			for _, p := range from(w) {
				p.freeze()
			}
		},
		func(w *slot) error {
			for _, p := range from(w) {
				p.thaw()
			}
			return nil
		},
	}
}

// How many long jobs there are when the workers leave.
const (
	fewLong  = 8                   // all of them soon run
	manyLong = 2 * 2 * concurrency // as many are prefetched and have not started
)

// awayAll takes all workers away in the middle of long jobs, alternating between the ways, and
// brings them back after longer than the broker needs to miss their heartbeats (29 s) and
// PostgreSQL to recover their jobs: the old and the new messages of a job meet then.
func awayAll(long int, ways ...leaving) func(context.Context, *chaos) error {
	return func(ctx context.Context, c *chaos) error {
		c.burst(ctx, 50)
		for range long {
			c.place(ctx, 5000+c.random.IntN(5000), jobs.OnQueue(queueLong))
		}
		if err := c.untilLongRun(ctx, min(long/2, concurrency)); err != nil {
			return err
		}
		first := c.random.IntN(len(ways))
		way := func(i int) leaving { return ways[(first+i)%len(ways)] }
		for i, w := range c.fleet.allWorkers() {
			way(i).leave(w)
		}
		sleep(ctx, c.between(36*time.Second, 45*time.Second))
		var errs []error
		for i, w := range c.fleet.allWorkers() {
			errs = append(errs, way(i).back(w))
		}
		return errors.Join(errs...)
	}
}

// untilLongRun waits until n long jobs run.
func (c *chaos) untilLongRun(ctx context.Context, n int) error {
	left, err := c.ledger.await(ctx, crashWait, `
		SELECT greatest($1 - count(*), 0) FROM runs r JOIN warren.jobs j ON j.id = r.job_id
		WHERE r.ended_at IS NULL AND j.state = 'running' AND j.queue = $2`, n, queueLong)
	if err == nil && left > 0 {
		err = fmt.Errorf("of %d long jobs %d do not run", n, left)
	}
	return err
}

const queue = "warren.jobs." + jobs.QueueDefault

func deleteQueue(ctx context.Context, c *chaos) error {
	c.burst(ctx, 100)
	return c.servers.manage(ctx, "DELETE", "queues/"+queue, "")
}

// purgeQueue drops messages that no worker had taken yet.
func purgeQueue(ctx context.Context, c *chaos) error {
	return c.withoutWorkers(func() error {
		c.burst(ctx, 50)
		if err := c.relayedAll(ctx); err != nil {
			return err
		}
		return c.servers.manage(ctx, "DELETE", "queues/"+queue+"/contents", "")
	})
}

func (c *chaos) relayedAll(ctx context.Context) error {
	last, err := c.ledger.number(ctx, `SELECT coalesce(max(id), 0) FROM warren.outbox`)
	if err != nil {
		return err
	}
	_, err = c.ledger.await(ctx, crashWait, `SELECT count(*) FROM warren.outbox WHERE id <= $1`, last)
	return err
}

// withoutWorkers calls do while no worker of the default queue runs.
func (c *chaos) withoutWorkers(do func() error) error {
	var errs []error
	for _, w := range c.fleet.workers {
		errs = append(errs, w.stop())
	}
	errs = append(errs, do())
	for _, w := range c.fleet.workers {
		errs = append(errs, w.start())
	}
	return errors.Join(errs...)
}

// fillQueue makes the broker refuse messages for a while.
func fillQueue(ctx context.Context, c *chaos) error {
	const policy = "policies/chaos-full"
	body := `{"pattern":"^warren\\.jobs\\.","apply-to":"queues","priority":9,"definition":{"max-length":20,"overflow":"reject-publish"}}`
	return c.withoutWorkers(func() error {
		if err := c.servers.manage(ctx, "PUT", policy, body); err != nil {
			return err
		}
		c.burst(ctx, 100)
		sleep(ctx, 3*time.Second)
		return c.servers.manage(ctx, "DELETE", policy, "")
	})
}

// alarm makes the broker accept no messages for lack of memory.
func alarm(ctx context.Context, c *chaos) error {
	if err := c.watermark(ctx, "0.000001"); err != nil {
		return err
	}
	sleep(ctx, c.between(2*time.Second, 5*time.Second))
	return c.watermark(ctx, "absolute", "1GB")
}

func (c *chaos) watermark(ctx context.Context, of ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	return c.servers.rabbitmq.Ctl(ctx, append([]string{"set_vm_memory_high_watermark"}, of...)...)
}
