package store

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/outbox"
)

// Enqueue adds jobs in a transaction of its own.
func (s *Store) Enqueue(ctx context.Context, list ...jobs.NewJob) ([]outbox.Enqueued, error) {
	return outbox.Enqueue(ctx, s.Own(), list...)
}

// Own has each call be a transaction of its own.
func (s *Store) Own() outbox.Tx { return outbox.Pool(s.pool) }

// Gorm is the transaction that tx is in, for Enqueue and CompleteTx. On a *gorm.DB
// outside of a transaction both return an error.
func Gorm(tx *gorm.DB) outbox.Tx {
	if _, open := tx.Statement.ConnPool.(gorm.TxCommitter); !open {
		return outbox.Wrap(noTx{})
	}
	return outbox.Wrap(tx.Statement.ConnPool)
}

// noTx refuses every statement: what it wrote would outlive the caller's rollback.
type noTx struct{}

func (noTx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("this *gorm.DB is in no transaction: what is written would outlive the caller's rollback; " +
		"pass the one that Transaction or Begin gives")
}
