package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/outbox"
)

// effect makes the handler write one row for its job, complete it in the same
// transaction, and end as the test says.
func (b *bundle) effect(end func(ctx context.Context, tx pgx.Tx, run *jobs.Run) error) {
	b.t.Helper()
	b.exec(`CREATE TABLE effects (job uuid, lease int)`)
	b.work = func(ctx context.Context, run *jobs.Run) error {
		conn, err := pgx.ConnectConfig(ctx, b.db.Config().Copy())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		if _, err := tx.Exec(ctx, `INSERT INTO effects VALUES ($1, $2)`, run.ID, run.Lease); err != nil {
			return err
		}
		if err := run.Output(map[string]int{"lease": run.Lease}); err != nil {
			return err
		}
		run.Progress(1, "written")
		if err := outbox.CompleteTx(ctx, outbox.Pgx(tx), run); err != nil {
			return err
		}
		return end(ctx, tx, run)
	}
}

func commit(ctx context.Context, tx pgx.Tx, _ *jobs.Run) error { return tx.Commit(ctx) }

func TestCompleteTx_AHandlerCompletesItsJobInTheTransactionOfItsEffect(t *testing.T) {
	b := setup(t)
	b.effect(commit)
	b.relay()
	stop := b.worker("w")
	for _, id := range b.steps(5) {
		job := b.ended(id, jobs.Completed)
		require.JSONEq(t, `{"lease": 1}`, string(job.Output))
		require.Equal(t, "written", job.Progress.Note)
		require.Len(t, job.Attempts, 1)
		require.Equal(t, jobs.AttemptCompleted, job.Attempts[0].Outcome)
	}
	stop()
	require.Equal(t, 5, b.number(`SELECT count(*) FROM effects`))
	require.Zero(t, b.ready("warren.jobs.default"), "every message was acknowledged")
}

func TestCompleteTx_AnErrorAfterACommittedCompletionChangesNothing(t *testing.T) {
	b := setup(t)
	b.effect(func(ctx context.Context, tx pgx.Tx, _ *jobs.Run) error {
		return errors.Join(tx.Commit(ctx), errors.New("the answer to the commit never came"))
	})
	b.relay()
	stop := b.worker("w")
	id := b.step()
	b.ended(id, jobs.Completed)
	stop()
	job := b.job(id)
	require.Equal(t, jobs.Completed, job.State)
	require.Len(t, job.Attempts, 1)
	require.Nil(t, job.LastError)
}

func TestCompleteTx_ACompletionThatWasRolledBackIsAFailedAttempt(t *testing.T) {
	b := setup(t)
	b.effect(func(ctx context.Context, tx pgx.Tx, run *jobs.Run) error {
		if run.Attempt > 2 {
			return tx.Commit(ctx)
		}
		if err := tx.Rollback(ctx); err != nil || run.Attempt == 1 {
			return errors.Join(err, errors.New("no"))
		}
		return nil // like a handler that ignores the error of Commit
	})
	b.relay()
	b.worker("w")
	id := b.step()
	job := b.eventually(id, "failed", in(jobs.Retrying))
	require.Equal(t, "no", job.Attempts[0].Error)
	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	job = b.eventually(id, "failed again", func(j jobs.Detail) bool { return j.State == jobs.Retrying && len(j.Attempts) == 2 })
	require.Contains(t, job.Attempts[1].Error, "CompleteTx was not committed")
	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	b.ended(id, jobs.Completed)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM effects`))
}

func TestCompleteTx_AHandlerThatReturnsWithItsTransactionOpenHoldsUpNoOther(t *testing.T) {
	b := setup(t)
	leaked := make(chan *pgx.Conn, 1)
	b.work = func(ctx context.Context, run *jobs.Run) error {
		if !strings.Contains(string(run.Args), "leaks") {
			return nil
		}
		ctx = context.WithoutCancel(ctx)
		conn, err := pgx.ConnectConfig(ctx, b.db.Config().Copy())
		if err != nil {
			return err
		}
		defer func() { leaked <- conn }()
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		return outbox.CompleteTx(ctx, outbox.Pgx(tx), run)
	}
	b.relay()
	b.worker("w", func(w *engine.Worker) { w.Concurrency = 2 })
	b.ended(b.step(), jobs.Completed) // everything is set up now: an open transaction has 15 s
	first := b.enqueue(jobs.New(step{Text: "leaks"}))[0]
	conn := await(b, "its handler", leaked)
	for _, id := range b.steps(3) {
		b.ended(id, jobs.Completed)
	}
	require.Equal(t, jobs.Running, b.job(first).State, "its row is locked")
	require.NoError(t, conn.Close(b.ctx))
	job := b.eventually(first, "has failed its attempt", in(jobs.Retrying))
	require.Contains(t, job.Attempts[0].Error, "CompleteTx was not committed")
}

func TestCompleteTx_AReplacedRunCannotCommitItsEffect(t *testing.T) {
	b := setup(t)
	refused := make(chan error, 1)
	b.effect(commit)
	effect := b.work
	started, open := make(chan struct{}, 2), make(chan struct{})
	b.work = func(ctx context.Context, run *jobs.Run) error {
		started <- struct{}{}
		if run.Lease > 1 {
			return effect(ctx, run)
		}
		<-open // it ignores that it was asked to stop
		err := effect(context.WithoutCancel(ctx), run)
		refused <- err
		return err
	}
	b.relay()
	stop := b.worker("a", func(w *engine.Worker) { w.StopGrace = 1 })
	id := b.step()
	await(b, "the run", started)
	stop()
	b.worker("b")
	b.ended(id, jobs.Completed)
	close(open)
	require.ErrorIs(t, await(b, "the late effect", refused), jobs.ErrStale)
	require.Equal(t, 2, b.number(`SELECT lease FROM effects`), "one effect, of the run that counts")
}
