package kinds

import (
	"context"
	"io"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// Tasks is the database access that the task kinds need.
type Tasks interface {
	File(ctx context.Context, id uuid.UUID) (tasks.File, error)
	OpenFile(ctx context.Context, id uuid.UUID) io.Reader
	CreateFile(ctx context.Context, name, mediaType string) (uuid.UUID, io.WriteCloser, error)

	OpenImport(ctx context.Context, file uuid.UUID) (tasks.Import, error)
	ImportTasks(ctx context.Context, b tasks.ImportBatch) (tasks.Import, error)
	ImportErrors(ctx context.Context, file uuid.UUID, limit int) ([]tasks.LineError, error)
	ExportTasks(ctx context.Context, f tasks.Filter, after uuid.UUID, limit int) ([]tasks.Task, error)

	IndexTask(ctx context.Context, run *jobs.Run, change tasks.Indexed) error
	BuildTaskIndex(ctx context.Context, job uuid.UUID, limit int) (tasks.IndexBuild, error)
	CountTasks(ctx context.Context) (int64, error)
}

// taskKinds has the handlers of the kinds of tasks.
type taskKinds struct {
	Tasks
	announce engine.Announce
}

// taskColumns are the columns of a CSV file of tasks. An export writes all of them; an import
// requires only the first.
var taskColumns = []string{"description", "priority", "start_at", "due_at", "done"}
