package kinds

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// TasksExport writes tasks to a CSV file that TasksImport can read.
type TasksExport struct {
	View     string `json:"view,omitempty" jsonschema:"title=Which,enum=open,enum=overdue,enum=done,enum=all,default=all"`
	Priority string `json:"priority,omitempty" jsonschema:"title=Priority,enum=none,enum=low,enum=medium,enum=high,description=Only tasks of this priority."`
	Text     string `json:"text,omitempty" jsonschema:"title=Text,maxLength=500,description=Only tasks with this text in the description."`
}

// Kind returns "tasks.export".
func (TasksExport) Kind() string { return "tasks.export" }

// Description returns the kind's description for people.
func (TasksExport) Description() string { return "Writes tasks to a CSV file to download." }

const exportBatch = 1000

// exportOutput is the output of tasks.export.
type exportOutput struct {
	File     string `json:"file"`
	Tasks    int    `json:"tasks"`
	Download string `json:"download"`
}

func (t taskKinds) exportCSV(ctx context.Context, run *jobs.Run, args TasksExport) error {
	f := tasks.Filter{View: tasks.View(args.View), Priority: tasks.Priority(args.Priority), Text: args.Text}
	if err := f.Check(); err != nil {
		return err
	}
	name := "tasks-" + time.Now().UTC().Format("2006-01-02-1504") + ".csv"
	id, file, err := t.CreateFile(ctx, name, "text/csv")
	if err != nil {
		return err
	}
	if _, err := io.WriteString(file, byteOrderMark); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w := bufio.NewWriter(file)
	if _, err := fmt.Fprintln(w, strings.Join(taskColumns, ",")); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	n, err := t.writeAll(ctx, run, w, f)
	if errors.Is(err, tasks.ErrTooLarge) { // a retry would fail again
		err = jobs.Permanent(fmt.Errorf("%w: export fewer tasks at once, such as those of one priority", err))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	return run.Output(exportOutput{File: name, Tasks: n, Download: "/files/" + id.String()})
}

func (t taskKinds) writeAll(ctx context.Context, run *jobs.Run, w *bufio.Writer, f tasks.Filter) (n int, err error) {
	var after uuid.UUID
	for {
		list, err := t.ExportTasks(ctx, f, after, exportBatch)
		if err != nil {
			return n, err
		}
		for _, task := range list {
			_, err := fmt.Fprintf(w, "%s,%s,%s,%s,%t\n", quoted(task.Description), task.Priority, day(task.StartAt), day(task.DueAt),
				task.Done)
			if err != nil {
				return n, err
			}
			after = task.ID
		}
		n += len(list)
		run.Progress(0, fmt.Sprintf("%d tasks", n))
		if len(list) < exportBatch {
			return n, w.Flush()
		}
	}
}

// quoted returns a text as a field of a CSV file that is a text to every spreadsheet: in quotes, as
// some separate by semicolons or tabs, and what they find behind one may be a formula.
func quoted(text string) string { return `"` + strings.ReplaceAll(guarded(text), `"`, `""`) + `"` }

func day(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
