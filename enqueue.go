package warren

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

// Tx is the caller's open transaction on the database that has Warren's tables. Pgx, SQL and Gorm
// wrap one; outbox.Wrap wraps those of other libraries.
type Tx = outbox.Tx

// Enqueued is the result of enqueueing one job: its id, or the id of the open job that holds its
// unique key.
type Enqueued = outbox.Enqueued

// Pgx wraps a transaction of pgx.
func Pgx(tx pgx.Tx) Tx { return outbox.Pgx(tx) }

// SQL wraps a transaction of database/sql.
func SQL(tx *sql.Tx) Tx { return outbox.SQL(tx) }

// Gorm wraps the transaction that tx is in. For a *gorm.DB outside of a transaction EnqueueTx and
// CompleteTx return an error, as their writes would survive the caller's rollback.
func Gorm(tx *gorm.DB) Tx { return store.Gorm(tx) }

// CompleteTx completes the job of run inside the transaction of its handler's
// effect, so that the effect happens exactly once. See outbox.CompleteTx.
func CompleteTx(ctx context.Context, tx Tx, run *jobs.Run) error {
	return outbox.CompleteTx(ctx, tx, run)
}

// NewestTx reports, inside the transaction of a handler's effect, whether the event is the newest
// version of what key names that its subscriber has handled. See outbox.NewestTx.
func NewestTx(ctx context.Context, tx Tx, d *events.Delivery, key string, version int64) (bool, error) {
	return outbox.NewestTx(ctx, tx, d, key, version)
}

// EnqueueTx adds a job inside the caller's transaction: it exists, and is sent, if and only if tx
// commits. If this client knows the job's kind, the kind's defaults fill the options that are not
// set, and the args are validated.
// Errors: jobs.FieldErrors for invalid input; PostgreSQL's 40P01 and 40001 mean that the
// transaction should be retried. Safe for concurrent use, before and while Run runs.
func (c *Client) EnqueueTx(ctx context.Context, tx Tx, args jobs.Args, options ...jobs.Option) (Enqueued, error) {
	added, err := c.EnqueueManyTx(ctx, tx, []jobs.NewJob{jobs.New(args, options...)})
	if err != nil {
		return Enqueued{}, err
	}
	return added[0], nil
}

// EnqueueManyTx is EnqueueTx for jobs made by jobs.New: thousands are one statement. The results
// are in the order of list; of several jobs with the same unique key one is added, and the results
// of the others have its id.
func (c *Client) EnqueueManyTx(ctx context.Context, tx Tx, list []jobs.NewJob) ([]Enqueued, error) {
	prepared := slices.Clone(list)
	for i := range prepared {
		job := &prepared[i]
		if c.registry.Lookup(job.Kind) == nil {
			continue
		}
		if err := c.registry.Prepare(job); err != nil {
			return nil, fmt.Errorf("enqueue a job of kind %s: %w", job.Kind, err)
		}
	}
	return outbox.Enqueue(ctx, tx, prepared...)
}

// Enqueue is EnqueueTx in a transaction of its own.
func (c *Client) Enqueue(ctx context.Context, args jobs.Args, options ...jobs.Option) (Enqueued, error) {
	return c.EnqueueTx(ctx, c.store.Own(), args, options...)
}

// EnqueueMany is EnqueueManyTx in a transaction of its own.
func (c *Client) EnqueueMany(ctx context.Context, list []jobs.NewJob) ([]Enqueued, error) {
	return c.EnqueueManyTx(ctx, c.store.Own(), list)
}

// PublishTx publishes events inside the caller's transaction, in one statement and in order: they
// reach the broker if and only if tx commits. See outbox.Publish. Safe for concurrent use, before
// and while Run runs.
func (c *Client) PublishTx(ctx context.Context, tx Tx, list ...events.Event) error {
	return outbox.Publish(ctx, tx, list...)
}

// Publish is PublishTx in a transaction of its own.
func (c *Client) Publish(ctx context.Context, list ...events.Event) error {
	return c.PublishTx(ctx, c.store.Own(), list...)
}

// Migrate brings Warren's tables, in the PostgreSQL schema warren, up to this version. Run does so
// too: call Migrate where the database role of Run may not, or to be sure that the tables exist.
// Idempotent; any number of processes may call it at once.
// Errors: store.ErrTooNew, store.ErrPooler, and those of PostgreSQL.
func (c *Client) Migrate(ctx context.Context) error { return c.store.Migrate(ctx) }

// Migrations returns the migrations that Migrate runs, as SQL files for goose. Use the version
// table warren.migrations, in which Run reads which of them have been applied.
func Migrations() fs.FS { return store.Migrations() }
