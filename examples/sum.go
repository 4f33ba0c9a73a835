package examples

import (
	"context"
	"database/sql"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/outbox"
)

// Sum are the args of a job that a program in Python works: python/worker.py has its handler.
type Sum struct {
	Numbers []int `json:"numbers"`
}

// Kind is the name of these jobs.
func (Sum) Kind() string { return "sum" }

// AddUp hands a sum to the workers of the queue, in the caller's transaction.
func AddUp(ctx context.Context, tx *sql.Tx, queue string, numbers ...int) error {
	job := jobs.New(Sum{Numbers: numbers}, jobs.OnQueue(queue), jobs.MaxAttempts(1))
	_, err := outbox.Enqueue(ctx, outbox.SQL(tx), job)
	return err
}
