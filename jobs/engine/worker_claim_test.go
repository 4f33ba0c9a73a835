package engine_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// oneBatch is a subscription that delivers one batch and then nothing more.
type oneBatch struct {
	c     chan engine.Delivery
	lost  chan struct{}
	end   func() // closes c, once
	close func() // closes both
}

func newOneBatch(batch ...engine.Delivery) oneBatch {
	c := make(chan engine.Delivery, len(batch))
	for _, in := range batch {
		c <- in
	}
	lost, end := make(chan struct{}), sync.OnceFunc(func() { close(c) })
	return oneBatch{c, lost, end, sync.OnceFunc(func() { end(); close(lost) })}
}

func (o oneBatch) Consume(context.Context, map[string]int) (engine.Subscription, error) {
	return o, nil
}
func (o oneBatch) C() <-chan engine.Delivery { return o.c }
func (o oneBatch) Cancel() error             { o.end(); return nil }
func (o oneBatch) Close() error              { o.close(); return nil }
func (o oneBatch) Lost() <-chan struct{}     { return o.lost }
func (oneBatch) Err() error                  { return nil }

// A worker that was away for longer than a lease gets, in one batch, the redelivery of the dispatch
// that it ran and the dispatch that recovered the job.
func TestWorker_RunsAJobOnceWhenABatchHoldsTwoOfItsDispatches(t *testing.T) {
	b := setup(t)
	g := b.gate()
	id := b.step()
	b.exec(`UPDATE warren.jobs SET dispatch = 2 WHERE id = $1`, id)
	acked := make(chan int, 3)
	message := func(dispatch int) engine.Delivery {
		return engine.Delivery{JobID: id, Dispatch: dispatch, Queue: "default", AppID: b.id, Redelivered: dispatch == 1,
			Ack: func() error { acked <- dispatch; return nil }, Return: func() error { return nil }}
	}
	b.worker("back", func(w *engine.Worker) { w.Consumer = newOneBatch(message(1), message(2), message(2)) })
	run := await(b, "the run", g.started)
	require.Equal(t, 1, run.Attempt)
	require.Equal(t, 1, await(b, "the older message is acknowledged", acked))
	b.until(text("the second message of the run is recorded"), func() bool {
		return b.number(`SELECT count(*) FROM warren.deliveries WHERE job_id = $1 AND outcome = 'same run' AND lease = 1`, id) == 1
	})
	require.Empty(t, g.started, "no second run")
	close(g.open)
	job := b.ended(id, jobs.Completed)
	require.Equal(t, 1, job.Lease)
	require.Len(t, job.Attempts, 1)
	for range 2 {
		require.Equal(t, 2, await(b, "both messages of the run are acknowledged with it", acked))
	}
}
