package kinds

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// TasksImport adds a task for each line of an uploaded CSV file.
type TasksImport struct {
	File uuid.UUID `json:"file" jsonschema:"title=File,format=uuid,description=Id of the uploaded CSV file. Uploads begin on the page Tasks, or with warren tasks import."`
}

// Kind returns "tasks.import".
func (TasksImport) Kind() string { return "tasks.import" }

// Description returns the kind's description for people.
func (TasksImport) Description() string {
	return "Adds a task for each line of an uploaded CSV file. Interrupted anywhere, it goes on where it was."
}

// importBatch is the number of lines written in one transaction.
const importBatch = 500

// errorsShown limits the refused lines in the job's output; the rest can be downloaded.
const errorsShown = 1000

// importOutput is the output of tasks.import.
type importOutput struct {
	File    string `json:"file"`
	Tasks   int    `json:"tasks"`
	Refused int    `json:"refused"`
	// Download is the URL of all refused lines as CSV; empty if no line was refused. It stands before the
	// errors, as the job's page reads only the beginning of a large output.
	Download string            `json:"download,omitempty"`
	Errors   []tasks.LineError `json:"errors"`
}

func (t taskKinds) importCSV(ctx context.Context, run *jobs.Run, args TasksImport) error {
	file, err := t.File(ctx, args.File)
	if errors.Is(err, jobs.ErrNotFound) {
		return jobs.Permanent(errors.New("there is no such file: it is kept for 7 days after its upload"))
	}
	if err != nil {
		return err
	}
	if !file.Complete {
		return jobs.Permanent(fmt.Errorf("the upload of %q did not end: upload it again", file.Name))
	}
	at, err := t.OpenImport(ctx, file.ID)
	if err != nil {
		return err
	}
	if at.Done == 0 {
		if err := checkEncoding(t.OpenFile(ctx, file.ID)); err != nil {
			return fmt.Errorf("read %q: %w", file.Name, err)
		}
	}
	lines, err := newTaskReader(t.OpenFile(ctx, file.ID))
	if err != nil {
		return fmt.Errorf("read %q: %w", file.Name, err)
	}
	for {
		batch, stop := lines.batch(at.Done, importBatch)
		end := batch.Done == at.Done
		if !end {
			batch.File, batch.Before = file.ID, at.Done
			if at, err = t.ImportTasks(ctx, batch); err != nil {
				return err
			}
			run.Progress(float64(at.Done)/float64(file.Size), at.String())
			t.announce(engine.TopicTasks)
		}
		switch {
		case jobs.IsPermanent(stop):
			if err := t.report(ctx, run, file, at); err != nil {
				return err
			}
			return fmt.Errorf("read %q, stopped after %s: %w", file.Name, at, stop)
		case stop != nil:
			return fmt.Errorf("read %q: %w", file.Name, stop)
		case end:
			run.Progress(1, at.String())
			return t.report(ctx, run, file, at)
		}
	}
}

func (t taskKinds) report(ctx context.Context, run *jobs.Run, file tasks.File, at tasks.Import) error {
	refused, err := t.ImportErrors(ctx, file.ID, errorsShown)
	if err != nil {
		return err
	}
	out := importOutput{File: file.Name, Tasks: at.Created, Refused: at.Refused, Errors: refused}
	if at.Refused > 0 {
		out.Download = "/tasks/imports/" + file.ID.String() + "/refused.csv"
	}
	return run.Output(out)
}

// batch reads up to limit lines that end after done, or more where the last ones were read as one. If the
// returned Done equals done, no lines are left. With an error, the batch has the lines before it.
func (r *taskReader) batch(done int64, limit int) (tasks.ImportBatch, error) {
	b := tasks.ImportBatch{Done: done}
	for len(b.Tasks)+len(b.Refused) < limit {
		task, err := r.next()
		var refused *refusedLine
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil && !errors.As(err, &refused):
			return b, err
		case r.offset() <= done: // imported by an earlier batch
			continue
		case refused != nil:
			b.Refused = append(b.Refused, refused.each()...)
		default:
			b.Tasks = append(b.Tasks, task)
		}
		b.Done = r.offset()
	}
	return b, nil
}
