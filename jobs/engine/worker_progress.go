package engine

import (
	"context"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// LogUpdate is the kept log of one run, with all its lines.
type LogUpdate struct {
	JobID uuid.UUID
	Lease int
	Total int    // lines logged, also those that are not kept
	Lines []byte // JSON array of LogLine, oldest first
}

// logWriteMax bounds the bytes of all logs that one throttled write carries.
const logWriteMax = 256 << 10

// saveProgress writes the progress and logs of runs while they go on.
func (w *Worker) saveProgress(back context.Context) {
	for sleep(back, progressEvery) {
		var updates []ProgressUpdate
		var runs []*jobs.Run
		var ids []string
		for _, active := range w.runs.all() {
			runs = append(runs, active.run)
			if done, ok := active.run.Record().TakeProgress(); ok {
				updates = append(updates, ProgressUpdate{active.key.JobID, active.lease, done})
				ids = append(ids, active.key.JobID.String())
			}
		}
		if len(updates) > 0 {
			if err := w.Store.SaveProgress(back, updates); err != nil {
				w.Log.Warn("worker: save progress", "error", err)
				continue
			}
		}
		if ids = append(ids, w.saveLogs(back, runs, 1)...); len(ids) > 0 {
			w.Announce(TopicJobs, ids...)
		}
	}
}

// saveLogs writes the changed logs of runs in statements of about logWriteMax bytes, and returns
// the ids of their jobs. most bounds the number of statements.
func (w *Worker) saveLogs(ctx context.Context, runs []*jobs.Run, most int) (ids []string) {
	for range most {
		var taken []*jobs.Run
		var updates []LogUpdate
		for size := 0; len(runs) > 0 && size < logWriteMax; runs = runs[1:] {
			if run := runs[0]; run.Record().TakeLog() {
				lines, total := run.Record().Log()
				updates = append(updates, LogUpdate{JobID: run.ID, Lease: run.Lease, Total: total, Lines: lines})
				taken, size = append(taken, run), size+len(lines)
			}
		}
		if len(updates) == 0 {
			break
		}
		if err := w.Store.SaveLogs(ctx, updates); err != nil {
			w.Log.Warn("worker: save log lines", "error", err)
			for _, run := range taken {
				run.Record().UntakeLog()
			}
			break
		}
		for _, u := range updates {
			ids = append(ids, u.JobID.String())
		}
	}
	return ids
}
