package warren_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
)

// The application's own tables have the same names as Warren's.
func TestClient_EnqueuesInTheApplicationsTransaction(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), `
		CREATE SCHEMA app; CREATE TABLE app.jobs (id int); CREATE TABLE app.outbox (id int); CREATE TABLE app.sessions (id int)`)
	require.NoError(t, err)
	url = storetest.SearchPath(url, "app")
	c, err := warren.Open(warren.Config{DatabaseURL: url, BrokerURL: "amqp://127.0.0.1:1/"},
		jobs.Handle(func(context.Context, *jobs.Run, greeting) error { return nil }, jobs.OnQueue("mail"), jobs.MaxAttempts(2)))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.Migrate(t.Context()))
	require.NoError(t, c.Migrate(t.Context()), "idempotent")
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	enqueue := func(tx *gorm.DB) error {
		_, err := c.EnqueueTx(t.Context(), warren.Gorm(tx), greeting{"Ann"}, jobs.UniqueKey("k"))
		return err
	}
	count := func(where string) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM `+where).Scan(&n))
		return n
	}

	undo := errors.New("the application undoes it")
	require.ErrorIs(t, db.Transaction(func(tx *gorm.DB) error { return errors.Join(enqueue(tx), undo) }), undo)
	require.Zero(t, count(`warren.jobs`))
	require.ErrorContains(t, enqueue(db), "is in no transaction")
	require.NoError(t, db.Transaction(enqueue))
	require.Equal(t, 1, count(`warren.jobs WHERE queue = 'mail' AND max_attempts = 2`), "the kind's defaults")
	require.Equal(t, 1, count(`warren.outbox`))

	again, err := c.Enqueue(t.Context(), greeting{"Bob"}, jobs.UniqueKey("k"))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	many := []jobs.NewJob{jobs.New(greeting{"Eve"}), {Kind: "team.greeting", Args: []byte(`{"name": 7}`)}}
	require.ErrorContains(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := c.EnqueueManyTx(t.Context(), warren.Pgx(tx), many)
		return err
	}), "args.name")
	require.Equal(t, 1, count(`warren.jobs`))
	require.Zero(t, count(`app.jobs`)+count(`app.outbox`)+count(`app.sessions`))
}
