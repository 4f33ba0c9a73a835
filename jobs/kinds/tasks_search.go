package kinds

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// search is the subscriber that keeps the full-text index of tasks.
func (t taskKinds) search() *events.Subscriber {
	mux := events.NewMux()
	events.On(mux, tasks.EventAny, t.indexTask)
	return events.Subscribe(tasks.Search, tasks.Exchange, mux)
}

func (t taskKinds) indexTask(ctx context.Context, d *events.Delivery, change tasks.Indexed) error {
	if change.ID == uuid.Nil || change.Version < 1 {
		return jobs.Permanent(errors.New("the event has no id or no version of a task"))
	}
	change.Deleted = d.Key == tasks.EventDeleted
	if err := t.IndexTask(ctx, d.Run, change); err != nil {
		return err
	}
	t.announce(engine.TopicTasks, change.ID.String()) // what a search finds
	return nil
}

// TasksReindex builds the full-text index of tasks from the table.
type TasksReindex struct{}

// Kind returns "tasks.reindex".
func (TasksReindex) Kind() string { return "tasks.reindex" }

// Description returns the kind's description for people.
func (TasksReindex) Description() string { return "Builds the full-text index of tasks again." }

// NewReindex returns a job that builds the full-text index of tasks. One is open at a time.
func NewReindex() jobs.NewJob { return jobs.New(TasksReindex{}, jobs.UniqueKey("tasks.reindex")) }

const reindexBatch = 1000 // tasks of one transaction

// reindex continues where an attempt before it ended: each batch is written with how far it is.
func (t taskKinds) reindex(ctx context.Context, run *jobs.Run, _ TasksReindex) error {
	all, err := t.CountTasks(ctx)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		done, err := t.BuildTaskIndex(ctx, run.ID, reindexBatch)
		if err != nil {
			return err
		}
		if !done.More {
			run.Progress(1, fmt.Sprintf("%d tasks", done.Tasks))
			t.announce(engine.TopicTasks)
			return run.Output(map[string]int64{"tasks": done.Tasks})
		}
		run.Progress(float64(done.Tasks)/float64(max(all, done.Tasks+1)), fmt.Sprintf("%d tasks", done.Tasks))
	}
	return ctx.Err()
}
