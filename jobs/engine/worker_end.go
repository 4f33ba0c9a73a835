package engine

import (
	"context"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// finished is a run whose result waits to be written.
type finished struct {
	active *activeRun
	result Result
	took   time.Duration
	// written: its handler completed it in a transaction of its own
	written bool
	again   bool // its row was locked when it was last to be written
}

func (w *Worker) logEnd(f finished) {
	run, r := f.active.run, f.result
	w.Log.Info("job ended", "job", run.ID, "kind", run.Kind, "attempt", run.Attempt, "outcome", r.Outcome,
		"state", r.State, "took", f.took.Round(time.Millisecond), "error", r.Failure.Error)
}

// writeResults writes results, all that are ready at once, and acknowledges after the commit.
func (w *Worker) writeResults(back context.Context) {
	pace := w.newPace()
	for {
		select {
		case <-back.Done():
			return
		case first := <-w.results:
			pace.wait(back)
			w.write(back, w.drain([]finished{first}))
		}
	}
}

func (w *Worker) drain(batch []finished) []finished {
	for len(batch) < w.Concurrency {
		select {
		case f := <-w.results:
			batch = append(batch, f)
		default:
			return batch
		}
	}
	return batch
}

// write writes a batch of results, until the database has them: a lost completion would run the job twice.
func (w *Worker) write(back context.Context, batch []finished) {
	runs := make([]*jobs.Run, len(batch))
	for i, f := range batch {
		runs[i] = f.active.run
	}
	w.saveLogs(back, runs, len(runs)) // before the end, which people wait for
	w.findCompleted(back, batch)
	var ends []finished
	for _, f := range batch {
		if !f.written {
			ends = append(ends, f)
		}
	}
	held := w.endRuns(back, ends)
	w.saveLogs(back, runs, len(runs)) // those that failed before, as when the database was away
	w.finish(without(batch, held))
	for _, f := range held {
		w.writeLater(back, f)
	}
}

// endRuns writes the ends of runs until the database has them, and returns those whose rows are locked.
func (w *Worker) endRuns(back context.Context, batch []finished) (held []finished) {
	if len(batch) == 0 {
		return nil
	}
	w.until(back, "write results", func() error {
		held = nil
		outcomes, err := w.Store.EndRuns(back, resultsOf(batch))
		for i, outcome := range outcomes {
			switch r := batch[i].result; outcome {
			case OutcomeLate:
				w.Log.Warn("job ended too late: its lease is no longer held, the result is dropped", "job", r.JobID, "lease", r.Lease)
			case OutcomeHeld:
				held = append(held, batch[i])
			}
		}
		return err
	})
	return held
}

// without returns batch without the runs that are held.
func without(batch, held []finished) []finished {
	return slices.DeleteFunc(batch, func(f finished) bool {
		return slices.ContainsFunc(held, func(h finished) bool { return h.active == f.active })
	})
}

// writeLater tries again later to write a result whose row is locked, for example by a handler that
// returned with its transaction open. Other results do not wait for it.
func (w *Worker) writeLater(back context.Context, f finished) {
	f.again = true
	time.AfterFunc(storeRetry, func() {
		select {
		case w.results <- f:
		case <-back.Done():
		}
	})
}

// findCompleted finds the runs that their handlers have completed: whatever such a handler returned
// afterwards, the database is right.
func (w *Worker) findCompleted(back context.Context, batch []finished) {
	var own []int
	var runs []Result
	for i, f := range batch {
		if f.active.run.Record().CompletedTx() {
			own, runs = append(own, i), append(runs, f.result)
		}
	}
	if len(own) == 0 {
		return
	}
	w.until(back, "look for results", func() error {
		written, err := w.Store.CompletedTx(back, runs)
		for n, yes := range written {
			f := &batch[own[n]]
			if yes {
				f.written, f.result.State, f.result.Outcome = true, jobs.Completed, jobs.AttemptCompleted
				if f.result.Failure.Error == errUnwritten.Error() {
					f.result.Failure = Failure{}
				}
			}
			if !f.again {
				w.logEnd(*f)
			}
		}
		return err
	})
}

// released returns results that give the runs back.
func released(runs []Result) []Result {
	out := make([]Result, len(runs))
	for i, r := range runs {
		out[i] = Result{JobID: r.JobID, Lease: r.Lease, Outcome: jobs.AttemptReleased}
	}
	return out
}

func resultsOf(batch []finished) []Result {
	out := make([]Result, len(batch))
	for i, f := range batch {
		out[i] = f.result
	}
	return out
}

// until calls try until it succeeds or ctx ends.
func (w *Worker) until(ctx context.Context, what string, try func() error) {
	for {
		err := try()
		if err == nil {
			return
		}
		w.Log.Warn("worker: "+what, "error", err)
		if !sleep(ctx, storeRetry) {
			return
		}
	}
}

// finish acknowledges the deliveries, removes the runs and frees their slots.
func (w *Worker) finish(batch []finished) {
	CrashAt(CrashJobWritten)
	ids, died := make([]string, len(batch)), false
	for i, f := range batch {
		ids[i] = f.result.JobID.String()
		died = died || f.result.State == jobs.Dead
		w.logAck(f.active.ack())
		endDelivery(f.active.span, f.result)
		w.runs.remove(f.active)
		close(f.active.done)
	}
	w.ended.add(len(batch), time.Now())
	w.Announce(TopicJobs, ids...)
	if died {
		w.Announce(TopicFailures)
	}
	w.slots.release(len(batch))
}
