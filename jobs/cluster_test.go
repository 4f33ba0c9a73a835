//go:build cluster && unix

package jobs_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
}

func (b *bundle) ledger() *ledger {
	l := &ledger{runs: map[uuid.UUID]int{}}
	b.work = func(_ context.Context, run *jobs.Run) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.runs[run.ID]++
		return nil
	}
	return l
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.runs)
}

// doubled says how many jobs had more than one effect.
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

// await waits until so many jobs had their effect, and says how long.
func (l *ledger) await(b *bundle, n int) time.Duration {
	b.t.Helper()
	began := time.Now()
	b.until(func() string { return "effects" }, func() bool { return l.count() >= n })
	return time.Since(began).Round(10 * time.Millisecond)
}

// submit enqueues one job after the other until stop, and gives those that were
// acknowledged. One that failed may be there all the same.
func (b *bundle) submit() (stop func() []uuid.UUID) {
	var acknowledged []uuid.UUID
	ended := b.background(func(ctx context.Context) error {
		for ctx.Err() == nil {
			if added, err := b.store.Enqueue(b.ctx, jobs.New(step{})); err == nil {
				acknowledged = append(acknowledged, added[0].ID)
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		return nil
	})
	return func() []uuid.UUID { ended(); return acknowledged }
}

// settled waits until every job is completed, and checks that none was lost or doubled.
func (b *bundle) settled(db string, acknowledged []uuid.UUID, l *ledger) {
	b.t.Helper()
	_ = b.db.Close(b.ctx) // its server may be gone
	var err error
	b.db, err = pgx.Connect(b.ctx, db)
	require.NoError(b.t, err)
	b.until(func() string { return "all jobs are completed" }, func() bool { return b.number(`SELECT count(*) FROM jobs WHERE state <> 'completed'`) == 0 })
	require.Equal(b.t, len(acknowledged), b.number(`SELECT count(*) FROM jobs WHERE id = ANY($1)`, acknowledged), "no acknowledged job is lost")
	require.Equal(b.t, b.number(`SELECT count(*) FROM jobs`), l.count(), "each job had its effect")
	require.Zero(b.t, l.doubled(), "and none had it twice")
}

func TestJobsGoOnWhenTheNodeThatLeadsTheirQueueIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	cluster, err := rabbitlocal.StartCluster(ctx, t.TempDir(), 3)
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	t.Logf("three nodes in %v", time.Since(began).Round(time.Millisecond))
	m, err := management.New(cluster.ManagementURL())
	require.NoError(t, err)
	db := storetest.Database(t)
	b := setupOn(ctx, t, db, rabbittest.VHost{Name: "/", URL: cluster.URL(), ManagementURL: cluster.ManagementURL(), Management: m})
	l := b.ledger()
	b.relay()
	b.worker("a")
	b.worker("b")
	b.scheduler()
	stop := b.submit()
	l.await(b, 50)
	members, err := m.QuorumMembers(ctx, "/")
	require.NoError(t, err)
	require.Len(t, members["warren.jobs.default"], 3)
	note, err := b.broker.CheckMembers(ctx, m)
	require.NoError(t, err)
	require.Zero(t, note)

	for range 2 { // a restarted node is one to fail over to again
		leader, err := cluster.Leader(ctx, "/", "warren.jobs.default")
		require.NoError(t, err)
		before := l.count()
		cluster.Kill(leader)
		t.Logf("node %d killed: the next 50 jobs took %v", leader, l.await(b, before+50))
		require.NoError(t, cluster.Restart(ctx, leader))
	}
	acknowledged := stop()
	b.settled(db, acknowledged, l)
	t.Logf("%d jobs", len(acknowledged))
}

func TestFailingOverToThePromotedStandbyLosesNothingAndDoublesNothing(t *testing.T) {
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
	b.relay()
	b.worker("a")
	b.worker("b")
	b.scheduler()
	stop := b.submit()
	l.await(b, 50)

	for range 2 { // there and back
		before := l.count()
		pair.Kill()
		died := time.Now()
		require.NoError(t, pair.Promote(ctx))
		promoted := time.Since(died).Round(time.Millisecond)
		l.await(b, before+1)
		t.Logf("promoted %v after the kill, the first effect %v after that", promoted, time.Since(died.Add(promoted)).Round(10*time.Millisecond))
		require.NoError(t, pair.Rejoin(ctx))
		l.await(b, before+100)
	}
	acknowledged := stop()
	b.settled(pair.URL(), acknowledged, l)
	t.Logf("%d jobs acknowledged", len(acknowledged))
}
