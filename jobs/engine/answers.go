package engine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

const answersReconnect = 2 * time.Second

// answers consumes a queue whose messages are each answered by one call, so that no message stays
// there unseen by the dashboard. A message is acknowledged once its answer is written.
type answers struct {
	what    string // for the log
	consume func(ctx context.Context) (Subscription, error)
	answer  func(ctx context.Context, in Delivery) error
	log     *slog.Logger
}

// run answers until ctx ends.
func (a answers) run(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		sub, err := a.consume(ctx)
		if err != nil {
			if !failing {
				a.log.Warn(a.what, "error", err)
			}
			failing = true
			sleep(ctx, answersReconnect/2+rand.N(answersReconnect))
			continue
		}
		failing = false
		a.all(ctx, sub)
		_ = sub.Close()
	}
}

// all answers until the subscription or ctx ends. A message whose job is locked is tried again later
// and delays no other.
func (a answers) all(ctx context.Context, sub Subscription) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	held := make(chan Delivery)
	for {
		in, ok := Delivery{}, true
		select {
		case <-ctx.Done():
			return
		case in = <-held:
		case in, ok = <-sub.C():
		}
		if !ok {
			return
		}
		switch err := a.answer(ctx, in); {
		case err == nil:
			_ = in.Ack()
		case errors.Is(err, jobs.ErrHeld):
			time.AfterFunc(storeRetry, func() {
				select {
				case held <- in:
				case <-ctx.Done():
				}
			})
		default:
			a.log.Warn(a.what, "job", in.JobID, "error", err)
			sleep(ctx, answersReconnect)
			return // not acknowledged, so it is redelivered
		}
	}
}
