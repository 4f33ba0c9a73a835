package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

func TestACompletionIsPartOfTheCallersTransactionWhateverItsType(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	for name, in := range transactions {
		t.Run(name, func(t *testing.T) {
			id := add(t, s, work())[0]
			c := claim(t, s, w, id)
			run := &jobs.Run{ID: id, Lease: c.Lease}
			require.NoError(t, run.Output("kept"))
			require.ErrorIs(t, in(s, conn, func(tx any) error {
				require.NoError(t, store.CompleteTx(t.Context(), tx, run))
				return errUndo
			}), errUndo)
			require.Equal(t, jobs.Running, read(t, s, id).State)

			require.NoError(t, in(s, conn, func(tx any) error { return store.CompleteTx(t.Context(), tx, run) }))
			job := read(t, s, id)
			require.Equal(t, jobs.Completed, job.State)
			require.Equal(t, `"kept"`, string(job.Output))
			require.NotNil(t, job.FinishedAt)

			require.ErrorIs(t, in(s, conn, func(tx any) error { return store.CompleteTx(t.Context(), tx, run) }), jobs.ErrStale, "once per run")
		})
	}
	require.ErrorContains(t, store.CompleteTx(t.Context(), "none", &jobs.Run{}), "string is no transaction")
}

func TestACompletionOfAnOlderLeaseIsRefused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	c := claim(t, s, w, id)
	execute(t, conn, `UPDATE jobs SET lease = lease + 1 WHERE id = $1`, id)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, store.CompleteTx(t.Context(), tx, &jobs.Run{ID: id, Lease: c.Lease}), jobs.ErrStale)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, jobs.Running, read(t, s, id).State)
}
