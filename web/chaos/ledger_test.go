//go:build unix

package main

import (
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store/storetest"
)

// testRun is a run of the one job of a test; times are seconds, an end of 0 is not known.
type testRun struct {
	lease      int
	worker     string
	start, end int
	claimed    int // by Warren's record, if not 0
}

func TestLedger_CountsRunsThatOverlapWhileTheirWorkersLive(t *testing.T) {
	t.Parallel()
	l := testLedger(t)
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(second int) time.Time { return epoch.Add(time.Duration(second) * time.Second) }
	down := func(worker string, from, until int) downtime { return downtime{worker, at(from), at(until)} }
	ended := func(worker string, from int) downtime { return downtime{worker, at(from), forever} }
	for name, c := range map[string]struct {
		runs []testRun
		away []downtime
		want int
	}{
		"one after the other":                {[]testRun{{1, "a", 10, 20, 0}, {2, "b", 20, 30, 0}}, nil, 0},
		"side by side in two workers":        {[]testRun{{1, "a", 10, 20, 0}, {2, "b", 19, 30, 0}}, nil, 1},
		"side by side in one worker":         {[]testRun{{1, "a", 10, 20, 0}, {2, "a", 10, 20, 0}}, nil, 1},
		"two runs of one lease":              {[]testRun{{1, "a", 10, 20, 0}, {1, "a", 12, 20, 0}}, nil, 1},
		"three side by side are three pairs": {[]testRun{{1, "a", 10, 20, 0}, {2, "b", 11, 20, 0}, {3, "c", 12, 20, 0}}, nil, 3},
		"the first has no end and lives":     {[]testRun{{1, "a", 10, 0, 0}, {2, "b", 50, 60, 0}}, nil, 1},
		"the first was killed before":        {[]testRun{{1, "a", 10, 0, 0}, {2, "b", 50, 60, 0}}, []downtime{ended("a", 15)}, 0},
		"the first was killed after":         {[]testRun{{1, "a", 10, 0, 0}, {2, "b", 50, 60, 0}}, []downtime{ended("a", 55)}, 1},
		"another worker was killed":          {[]testRun{{1, "a", 10, 0, 0}, {2, "b", 50, 60, 0}}, []downtime{ended("b", 55)}, 1},
		"the first was frozen and goes on": {[]testRun{{1, "a", 10, 51, 0}, {2, "b", 40, 60, 0}}, []downtime{down("a", 12, 50)},
			0},
		"the first was frozen before its claim": {[]testRun{{1, "a", 30, 51, 29}, {2, "b", 40, 60, 0}}, []downtime{down("a", 12, 20)},
			1},
		"a claim of before the freeze starts after": {[]testRun{{2, "b", 40, 60, 0}, {1, "a", 50, 55, 11}}, []downtime{down("a", 12, 50)},
			0},
		"a claim of after the freeze": {[]testRun{{1, "b", 40, 60, 0}, {2, "a", 51, 55, 51}}, []downtime{down("a", 12, 50)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.db.ExecContext(t.Context(), `TRUNCATE runs, warren.attempts`)
			require.NoError(t, err)
			job := uuid.Must(uuid.NewV7())
			for _, r := range c.runs {
				end := sql.NullTime{Time: at(r.end), Valid: r.end != 0}
				_, err := l.db.ExecContext(t.Context(), `
					INSERT INTO runs (id, job_id, lease, worker, started_at, ended_at) VALUES ($1, $2, $3, $4, $5, $6)`,
					uuid.Must(uuid.NewV7()), job, r.lease, r.worker, at(r.start), end)
				require.NoError(t, err)
				if r.claimed != 0 {
					l.attempt(t, job, r.lease, at(r.claimed))
				}
			}
			pairs, err := l.overlaps(t.Context(), c.away)
			require.NoError(t, err)
			require.Len(t, pairs, c.want)
		})
	}
}

func TestLedger_CountsAPlainEffectOfARunThatWarrenDoesNotKnow(t *testing.T) {
	t.Parallel()
	l := testLedger(t)
	job, order := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	effect := func(lease int) {
		_, err := l.db.ExecContext(t.Context(), writeEffect, uuid.Must(uuid.NewV7()), order, job, lease, "w", true)
		require.NoError(t, err)
	}
	count := func() int {
		n, err := l.number(t.Context(), duplicated)
		require.NoError(t, err)
		return n
	}
	l.attempt(t, job, 1, time.Now())
	l.attempt(t, job, 2, time.Now())
	effect(1)
	effect(2)
	require.Zero(t, count(), "each run may have its effect")
	effect(2)
	require.Equal(t, 1, count(), "two effects of one lease")
	effect(3)
	require.Equal(t, 2, count(), "no attempt has that lease")
}

func testLedger(t *testing.T) ledger {
	t.Helper()
	url := storetest.Migrated(t)
	storetest.Open(t, url)
	l, err := newLedger(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.db.Close() })
	return l
}

func (l ledger) attempt(t *testing.T, job uuid.UUID, lease int, claimed time.Time) {
	t.Helper()
	_, err := l.db.ExecContext(t.Context(), `
		INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome)
		VALUES ($1, $2, 1, 1, 'w', $3, $3, 'crashed')`, job, lease, claimed)
	require.NoError(t, err)
}
