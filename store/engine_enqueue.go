package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/outbox"
)

// Enqueue adds jobs in a transaction of its own, and notifies the pages.
func (s *Store) Enqueue(ctx context.Context, list ...jobs.NewJob) ([]outbox.Enqueued, error) {
	added, err := outbox.Enqueue(ctx, s.Own(), list...)
	if err != nil || len(added) == 0 {
		return added, err
	}
	change := Change{Topic: engine.TopicJobs}
	if len(added) == 1 {
		change.IDs = []string{added[0].ID.String()}
	}
	// The jobs are committed: a page that misses the notification shows them a little later.
	_ = s.inTx(ctx, func(tx pgx.Tx) error { return notify(ctx, tx, change) })
	return added, nil
}

// Own returns an outbox.Tx in which each call is a transaction of its own.
func (s *Store) Own() outbox.Tx { return outbox.Pool(s.pool) }

// Gorm wraps the transaction that tx is in, for Enqueue and CompleteTx. If tx is in none, both
// return an error.
func Gorm(tx *gorm.DB) outbox.Tx {
	if _, open := tx.Statement.ConnPool.(gorm.TxCommitter); !open {
		return outbox.Wrap(noTx{})
	}
	return outbox.Wrap(tx.Statement.ConnPool)
}

// noTx refuses every statement, whose effect would outlive the caller's rollback.
type noTx struct{}

func (noTx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("this *gorm.DB is in no transaction: what is written would outlive the caller's rollback; " +
		"pass the one that Transaction or Begin gives")
}
