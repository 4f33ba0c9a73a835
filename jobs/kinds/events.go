package kinds

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
)

// Events is the database access that events.replay needs.
type Events interface {
	Replay(ctx context.Context, job uuid.UUID, subscriber string, since, until time.Time, limit int) (engine.ReplayBatch, error)
}

const replayBatch = 500 // events of one transaction

// replay continues where an attempt before it ended: each batch is written with how far it is.
func replay(db Events) func(context.Context, *jobs.Run, events.ReplayArgs) error {
	return func(ctx context.Context, run *jobs.Run, args events.ReplayArgs) error {
		for ctx.Err() == nil {
			done, err := db.Replay(ctx, run.ID, args.Subscriber, args.Since, args.Until, replayBatch)
			if err != nil {
				return err
			}
			if !done.More {
				run.Progress(1, fmt.Sprintf("%d jobs added", done.Added))
				return run.Output(map[string]int64{"jobs": done.Added})
			}
			run.Progress(passed(done.After, args), fmt.Sprintf("%d jobs added", done.Added))
		}
		return ctx.Err()
	}
}

// passed returns which part of the time between since and until the event with that id has passed.
func passed(event uuid.UUID, args events.ReplayArgs) float64 {
	sec, nsec := event.Time().UnixTime()
	return float64(time.Unix(sec, nsec).Sub(args.Since)) / float64(max(args.Until.Sub(args.Since), 1))
}
