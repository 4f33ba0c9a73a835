package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/outbox"
)

func TestCompleteTx_ACompletionIsPartOfTheCallersTransactionWhateverItsType(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	for name, in := range transactions {
		t.Run(name, func(t *testing.T) {
			id := add(t, s, work())[0]
			c := claim(t, s, w, id)
			run := &jobs.Run{ID: id, Lease: c.Lease}
			require.NoError(t, run.Output("kept"))
			require.ErrorIs(t, in(s, conn, func(tx outbox.Tx) error {
				require.NoError(t, outbox.CompleteTx(t.Context(), tx, run))
				return errUndo
			}), errUndo)
			require.Equal(t, jobs.Running, read(t, s, id).State)

			require.NoError(t, in(s, conn, func(tx outbox.Tx) error { return outbox.CompleteTx(t.Context(), tx, run) }))
			job := read(t, s, id)
			require.Equal(t, jobs.Completed, job.State)
			require.Equal(t, `"kept"`, string(job.Output))
			require.NotNil(t, job.FinishedAt)

			require.ErrorIs(t, in(s, conn, func(tx outbox.Tx) error { return outbox.CompleteTx(t.Context(), tx, run) }), jobs.ErrStale,
				"once per run")
		})
	}
}

func TestCompleteTx_ACompletionOfAnOlderLeaseIsRefused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	c := claim(t, s, w, id)
	execute(t, conn, `UPDATE warren.jobs SET lease = lease + 1 WHERE id = $1`, id)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, outbox.CompleteTx(t.Context(), outbox.Pgx(tx), &jobs.Run{ID: id, Lease: c.Lease}), jobs.ErrStale)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, jobs.Running, read(t, s, id).State)
}
