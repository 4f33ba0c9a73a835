//go:build cluster && unix

package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	rabbitlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/local"
	"github.com/warrenjobs/warren/store/storetest"
)

// ledger counts, outside of both servers, how often each job had its effect.
type ledger struct {
	mu   sync.Mutex
	runs map[uuid.UUID]int
	last time.Time
	idle time.Duration // the longest time between two effects
}

func (b *bundle) ledger() *ledger {
	l := &ledger{runs: map[uuid.UUID]int{}}
	b.work = func(_ context.Context, run *jobs.Run) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.runs[run.ID]++
		l.idle, l.last = max(l.idle, time.Since(l.last)), time.Now()
		return nil
	}
	return l
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.runs)
}

// doubled returns how many jobs had more than one effect.
func (l *ledger) doubled() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, runs := range l.runs {
		if runs != 1 {
			n++
		}
	}
	return n
}

// await waits until n jobs had their effect, and returns the longest time without an effect meanwhile.
func (l *ledger) await(b *bundle, n int) time.Duration {
	b.t.Helper()
	l.mu.Lock()
	l.idle, l.last = 0, time.Now()
	l.mu.Unlock()
	b.until(text("the effects"), func() bool { return l.count() >= n })
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.idle.Round(10 * time.Millisecond)
}

// submit enqueues one job after the other until stop, which returns those that were acknowledged. A
// job that failed to be enqueued may exist all the same.
func (b *bundle) submit(every time.Duration) (stop func() []uuid.UUID) {
	var acknowledged []uuid.UUID
	ended := b.background(func(ctx context.Context) error {
		for ctx.Err() == nil {
			if added, err := b.store.Enqueue(b.ctx, jobs.New(step{})); err == nil {
				acknowledged = append(acknowledged, added[0].ID)
			}
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
		return nil
	})
	return func() []uuid.UUID { ended(); return acknowledged }
}

// allCompleted waits until every job is completed, and checks that none was lost or doubled.
func (b *bundle) allCompleted(db string, acknowledged []uuid.UUID, l *ledger) {
	b.t.Helper()
	_ = b.db.Close(b.ctx) // its server may be gone
	var err error
	b.db, err = pgx.Connect(b.ctx, db)
	require.NoError(b.t, err)
	b.until(text("all jobs are completed"),
		func() bool { return b.number(`SELECT count(*) FROM warren.jobs WHERE state <> 'completed'`) == 0 })
	require.Equal(b.t, len(acknowledged), b.number(`SELECT count(*) FROM warren.jobs WHERE id = ANY($1)`, acknowledged),
		"no acknowledged job is lost")
	require.Equal(b.t, b.number(`SELECT count(*) FROM warren.jobs`), l.count(), "each job had its effect")
	require.Zero(b.t, l.doubled(), "and none had it twice")
}

func TestCluster_JobsGoOnWhenTheNodeThatLeadsTheirQueueIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // the nodes run as another user when we are root
	cluster, err := rabbitlocal.StartCluster(ctx, dir, 3)
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	t.Logf("three nodes in %v", time.Since(began).Round(time.Millisecond))
	m, err := management.New(cluster.ManagementURL())
	require.NoError(t, err)
	db := storetest.Database(t)
	b := setupOn(ctx, t, db, rabbittest.VHost{Name: "/", URL: cluster.URL(), ManagementURL: cluster.ManagementURL(), Management: m})
	l := b.ledger()
	b.relayBy(b.broker.NewPublisher()) // with the real timeout for confirms
	b.worker("a")
	b.worker("b")
	b.scheduler()
	stop := b.submit(40 * time.Millisecond)
	// Run jobs for some 10 s first: a queue whose node dies while it declares the queue may get no
	// leader, which is a case of its own (engine.LeaderlessQueues).
	l.await(b, 250)
	queues, err := m.QuorumQueues(ctx, "/")
	require.NoError(t, err)
	members := map[string][]string{}
	for _, q := range queues {
		members[q.Name] = q.Members
	}
	require.Len(t, members["warren.jobs.default"], 3)
	for range 2 {
		leader, err := cluster.Leader(ctx, "/", "warren.jobs.default")
		require.NoError(t, err)
		cluster.Kill(leader)
		t.Logf("node %d killed: no job ran for %v", leader, l.await(b, l.count()+100))
		require.NoError(t, cluster.Restart(ctx, leader))
		l.await(b, l.count()+50)
	}
	acknowledged := stop()
	b.allCompleted(db, acknowledged, l)
	t.Logf("%d jobs", len(acknowledged))
	b.growsWhatIsOlderThanTheCluster(cluster)
}

// growsWhatIsOlderThanTheCluster checks a queue that was declared when there was one node and so
// has one member: the command that the Overview shows gives it the others.
func (b *bundle) growsWhatIsOlderThanTheCluster(cluster *rabbitlocal.Cluster) {
	b.t.Helper()
	note, err := b.broker.CheckMembers(b.ctx, b.vhost.Management)
	require.NoError(b.t, err)
	require.Zero(b.t, note)
	_, err = b.amqpAt(cluster.NodeURL(0)).QueueDeclare("warren.jobs.old", true, false, false, false,
		amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-quorum-initial-group-size": 1})
	require.NoError(b.t, err)
	b.until(text("it is named"), func() bool {
		note, err = b.broker.CheckMembers(b.ctx, b.vhost.Management)
		return err == nil && note.Problem != ""
	})
	require.Equal(b.t, "The cluster has 3 nodes, but queue warren.jobs.old has members on only 1: jobs there wait while a node is away.",
		note.Problem)
	require.NoError(b.t, cluster.Shell(b.ctx, 0, note.Command))
	b.until(text("it has grown"), func() bool {
		note, err = b.broker.CheckMembers(b.ctx, b.vhost.Management)
		return err == nil && note.Problem == ""
	})
}

func TestCluster_FailingOverToThePromotedStandbyLosesNothingAndDoublesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "warren-pair-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // the servers run as another user when we are root
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	began := time.Now()
	pair, err := local.StartPair(ctx, dir)
	require.NoError(t, err)
	t.Cleanup(pair.Stop)
	t.Logf("primary and standby in %v", time.Since(began).Round(time.Millisecond))
	b := setupOn(ctx, t, pair.URL(), rabbittest.New(t))
	l := b.ledger()
	b.relayBy(b.broker.NewPublisher()) // with the real timeout for confirms
	b.worker("a")
	b.worker("b")
	b.scheduler()
	stop := b.submit(10 * time.Millisecond)
	l.await(b, 50)

	for range 2 { // there and back
		before := l.count()
		pair.Kill()
		died := time.Now()
		require.NoError(t, pair.Promote(ctx))
		t.Logf("promoted %v after the kill: no job ran for %v", time.Since(died).Round(10*time.Millisecond), l.await(b, before+100))
		require.NoError(t, pair.Rejoin(ctx))
	}
	acknowledged := stop()
	b.allCompleted(pair.URL(), acknowledged, l)
	t.Logf("%d jobs acknowledged", len(acknowledged))
}
