package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// deletedTask is the body of tasks.EventDeleted.
type deletedTask struct {
	ID      uuid.UUID `json:"id"`
	Version int       `json:"version"`
}

func taskEvent(key string, task uuid.UUID, body any) events.Event {
	event := events.JSON(tasks.Exchange, key, body)
	event.TaskID = task
	return event
}

// TaskEvents reads the newest events of a task, at most limit.
func (s *Store) TaskEvents(ctx context.Context, task uuid.UUID, limit int) ([]engine.Event, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+eventColumns+` FROM warren.events e WHERE task_id = $1 ORDER BY id DESC LIMIT $2`, task, limit)
	if err != nil {
		return nil, fmt.Errorf("read the events of task %s: %w", task, err)
	}
	list, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("read the events of task %s: %w", task, err)
	}
	return list, nil
}
