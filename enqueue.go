package warren

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

// Tx is an open transaction of the caller's, on the database that has Warren's
// tables. Pgx, SQL and Gorm make one; outbox.Wrap does for other libraries.
type Tx = outbox.Tx

// Enqueued says what became of one new job: its id, or the id of the open job
// that holds its unique key.
type Enqueued = outbox.Enqueued

// Pgx is a transaction of pgx.
func Pgx(tx pgx.Tx) Tx { return outbox.Pgx(tx) }

// SQL is a transaction of database/sql.
func SQL(tx *sql.Tx) Tx { return outbox.SQL(tx) }

// Gorm is the transaction that tx is in. On a *gorm.DB outside of a transaction
// EnqueueTx and CompleteTx return an error: what they wrote would outlive the
// caller's rollback.
func Gorm(tx *gorm.DB) Tx { return store.Gorm(tx) }

// CompleteTx completes the job of run inside the transaction of its handler's
// effect, so that the effect happens exactly once. See outbox.CompleteTx.
func CompleteTx(ctx context.Context, tx Tx, run *jobs.Run) error {
	return outbox.CompleteTx(ctx, tx, run)
}

// EnqueueTx adds a job inside the caller's transaction: it exists, and is sent, if
// and only if tx commits. What the options leave open is filled with the defaults
// of the job's kind, and its args are checked, if this client knows the kind.
// Errors: jobs.FieldErrors for bad input; PostgreSQL's 40P01 and 40001 mean that
// the transaction should run again. Safe for concurrent use, before and while Run runs.
func (c *Client) EnqueueTx(ctx context.Context, tx Tx, args jobs.Args, options ...jobs.Option) (Enqueued, error) {
	added, err := c.EnqueueManyTx(ctx, tx, []jobs.NewJob{jobs.New(args, options...)})
	if err != nil {
		return Enqueued{}, err
	}
	return added[0], nil
}

// EnqueueManyTx is EnqueueTx for jobs that jobs.New has made: thousands are one
// statement. The answers are in the order of the list; of several with one unique
// key in it one is added, and the others are told its id.
func (c *Client) EnqueueManyTx(ctx context.Context, tx Tx, list []jobs.NewJob) ([]Enqueued, error) {
	prepared := make([]jobs.NewJob, len(list))
	for i, job := range list {
		if c.registry.Lookup(job.Kind) != nil {
			if err := c.registry.Prepare(&job); err != nil {
				return nil, fmt.Errorf("enqueue a job of kind %s: %w", job.Kind, err)
			}
		}
		prepared[i] = job
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

// Migrate brings Warren's tables, in the PostgreSQL schema warren, up to this
// version. Run does it too: call it where the role that runs may not, or to know
// that the tables are there. Idempotent; any number of processes may call it at once.
// Errors: store.ErrTooNew, store.ErrPooler, and what PostgreSQL says.
func (c *Client) Migrate(ctx context.Context) error { return c.store.Migrate(ctx) }

// Migrations holds what Migrate runs, as SQL files for goose, with the version
// table warren.migrations: Run reads there what has been done.
func Migrations() fs.FS { return store.Migrations() }
