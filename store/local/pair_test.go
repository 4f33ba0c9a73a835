//go:build cluster && unix

package local

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Commits that the primary acknowledged are on the standby, and again after the next failover.
func TestPair_FailsOverThereAndBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := StartPair(ctx, dataDir(t))
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	url := p.URL()
	at := func(sql string) (n int) {
		conn, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		defer func() { _ = conn.Close(ctx) }()
		require.NoError(t, conn.QueryRow(ctx, sql).Scan(&n))
		return n
	}
	run(t, p.Primary(), `CREATE TABLE kept (n int)`)

	for failover := range 2 {
		run(t, p.Primary(), `INSERT INTO kept VALUES (1)`)
		p.Kill()
		require.NoError(t, p.Promote(ctx))
		require.Equal(t, failover+1, at(`SELECT count(*) FROM kept`))
		require.NoError(t, p.Rejoin(ctx))
	}
}
