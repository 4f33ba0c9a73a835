package engine

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
)

// Announce notifies every open page that something of a topic changed. It carries ids, never data;
// it does not block and is safe for concurrent use.
type Announce func(topic string, ids ...string)

// announceJobs logs and announces that something was done to these jobs, if there are any.
func announceJobs(log *slog.Logger, announce Announce, ids []uuid.UUID, what string, args ...any) {
	if len(ids) == 0 {
		return
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	log.Info(what, append(args, "jobs", len(ids))...)
	announce(TopicJobs, names...)
}

// Topics of the live view.
const (
	TopicJobs   = "jobs"
	TopicQueues = "queues"
	TopicHealth = "health"
	TopicTasks  = "tasks"
	// TopicSchedules changes with each firing.
	TopicSchedules = "schedules"
	TopicAudit     = "audit" // announced by the write itself
	TopicOutbox    = "outbox"
	TopicWorkers   = "workers"
	// TopicFailures changes when a job dies, and when something is done to a dead one.
	TopicFailures = "failures"
)

// ReportHealth records the health of a component; an empty problem means healthy. It blocks for a
// short time and swallows its own error, as the database that it would be written to may be the
// problem.
type ReportHealth func(ctx context.Context, component, problem string)

// Components reported by workers, and by the check of the broker's policies.
const (
	ComponentConsume = "consume" // the workers can take jobs
	ComponentPolicy  = "policy"  // the job queues have the policy that Warren asks for
)

// PolicyNote explains why the job queues lack the policy that Warren asks for, and what an
// administrator runs to fix it. The zero value means that there is nothing to report.
type PolicyNote struct {
	Problem string `json:"-"`       // sentences; the row's message
	Command string `json:"command"` // one line for a shell
}
