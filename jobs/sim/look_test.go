package sim_test

import (
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// seen is the row of a job after a step.
type seen struct {
	ID       uuid.UUID
	State    jobs.State
	Dispatch int
	Lease    int
	Attempt  int
	Crashes  int
	Attempts int // rows of ended runs
	Effects  int
	Outbox   bool // the message of its dispatch is there
}

type snapshot map[uuid.UUID]seen

// lookIfDirty compares the jobs with their last snapshot if a step has changed something.
func (w *world) lookIfDirty() {
	if w.dirty {
		w.dirty = false
		w.look("WHERE state NOT IN ('completed', 'dead', 'cancelled') OR age(xmin) < 1000") // the others have not changed lately
	}
}

// lookAtAll compares all jobs, to find changes that no step has marked.
func (w *world) lookAtAll() { w.look("") }

func (w *world) look(which string) {
	now := snapshot{}
	w.outside(func(p *postgres) error {
		rows, err := p.control.Query(context.Background(), `
			SELECT id, state, dispatch, lease, attempt, crashes, (SELECT count(*) FROM warren.attempts a WHERE a.job_id = j.id),
				(SELECT count(*) FROM sim.effects e WHERE e.job_id = j.id),
				EXISTS (SELECT FROM warren.outbox o WHERE o.job_id = j.id AND o.dispatch = j.dispatch)
			FROM warren.jobs j `+which)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[seen])
		for _, s := range list {
			now[s.ID] = s
		}
		return err
	})
	for id, after := range now {
		if before, ok := w.before[id]; ok {
			w.compare(before, after)
		}
	}
	maps.Copy(w.before, now)
}

func (w *world) compare(before, after seen) {
	name := w.nameOf(after.ID)
	sent := engine.DispatchKey{JobID: after.ID, Dispatch: before.Dispatch}
	if before.Outbox && !after.Outbox && after.State == jobs.Queued && !w.rabbit.took(sent) {
		w.broken(confirmedFirst, "the message of job %s left the outbox, and RabbitMQ has not confirmed it", name)
	}
	before.Outbox, after.Outbox = false, false
	moved := before.State != after.State || before.Lease != after.Lease
	switch {
	case before == after:
	case moved && !before.State.MayBecome(after.State):
		w.broken(moves, "job %s went from %s to %s", name, before.State, after.State)
	case before.State.Ended() && !moved:
		w.broken(endedStays, "job %s has ended, and was changed: %+v became %+v", name, before, after)
	case after.State == jobs.Queued && moved && after.Dispatch != before.Dispatch+1:
		w.broken(nextDispatch, "job %s was queued from %s without the next dispatch: %d after %d",
			name, before.State, after.Dispatch, before.Dispatch)
	case after.Dispatch < before.Dispatch, after.Lease < before.Lease, after.Attempts < before.Attempts && after.Attempts < 40:
		w.broken(neverBack, "job %s went back: %+v became %+v", name, before, after)
	case after.Lease > before.Lease+1, after.Lease > before.Lease && after.State != jobs.Running:
		w.broken(moves, "job %s skipped a lease: %+v became %+v", name, before, after)
	case before.State == jobs.Running && moved && after.State != jobs.Completed && after.Attempts != before.Attempts+1:
		w.broken(leavesRow, "job %s: the run under lease %d ended as %s and left no row", name, before.Lease, after.State)
	}
}

// final checks everything once all jobs have come to their end.
func (w *world) final() {
	for id, s := range w.before {
		if !s.State.Ended() {
			w.broken(allEnds, "job %s is still %s after quiet time", w.nameOf(id), s.State)
		}
	}
	if ready, unacked := w.rabbit.left(); ready+unacked > 0 {
		w.broken(allEnds, "RabbitMQ still has %d messages ready and %d unacked after quiet time", ready, unacked)
	}
	var rows int
	w.outside(func(p *postgres) error {
		return p.control.QueryRow(context.Background(), `SELECT count(*) FROM warren.outbox`).Scan(&rows)
	})
	if rows > 0 {
		w.broken(allEnds, "the outbox still has %d rows after quiet time", rows)
	}
	effects := w.effects()
	for id := range w.before {
		var page jobs.Detail
		w.outside(func(p *postgres) (err error) {
			page, err = w.reader.Job(context.Background(), id)
			return err
		})
		if w.failed() {
			return
		}
		w.comparePage(page)
		w.compareEffects(page, effects[id])
		w.compareDeliveries(page)
	}
}

// compareDeliveries checks that the recorded redeliveries are those that RabbitMQ made, and that
// each run began with one delivery.
func (w *world) compareDeliveries(page jobs.Detail) {
	recorded, began := map[handed]int{}, map[int]int{}
	for _, d := range page.Deliveries {
		if d.Redelivered {
			recorded[handed{engine.DispatchKey{JobID: page.ID, Dispatch: d.Dispatch}, d.DeliveryCount}]++
		}
		if d.Lease > 0 && d.Outcome != jobs.DeliverySame {
			began[d.Lease]++
		}
	}
	for h, n := range recorded {
		if made := w.rabbit.handed[h]; n > made {
			w.broken(recordedOnce, "job %s: redelivery %d of dispatch %d was made %d times and is recorded %d times",
				w.nameOf(page.ID), h.count, h.key.Dispatch, made, n)
		}
	}
	for _, r := range w.ledger.of(page.ID) {
		if began[r.lease] != 1 {
			w.broken(recordedOnce, "job %s: %d deliveries are shown that began the run under lease %d", w.nameOf(page.ID), began[r.lease],
				r.lease)
		}
	}
}

// comparePage compares what the page of a job shows with what its handlers did.
func (w *world) comparePage(page jobs.Detail) {
	name, last, put := w.nameOf(page.ID), 0, false
	byLease := map[int]jobs.Attempt{}
	for _, a := range page.Attempts {
		if _, twice := byLease[a.Lease]; twice {
			w.broken(pageShows, "the page of job %s shows the run under lease %d twice", name, a.Lease)
		}
		byLease[a.Lease] = a
		if want := last + 1; a.Number != want && !put || put && a.Number != last {
			w.broken(noHoles, "the page of job %s shows attempt %d after attempt %d", name, a.Number, last)
		}
		last, put = a.Number, a.Outcome == jobs.AttemptSnoozed
	}
	for _, r := range w.ledger.of(page.ID) {
		a, ok := byLease[r.lease]
		switch {
		case !ok:
			w.broken(pageShows, "the page of job %s does not show its run under lease %d", name, r.lease)
		case a.Outcome == jobs.AttemptCompleted && (!r.over || r.err != nil) && page.Kind == "plain":
			w.broken(pageShows, "the page of job %s shows the run under lease %d as completed, and it returned %v", name, r.lease, r.err)
		}
	}
}

// effects returns, by job, under which leases the transactions of its handlers were committed.
func (w *world) effects() map[uuid.UUID][]int {
	effects := map[uuid.UUID][]int{}
	w.outside(func(p *postgres) error {
		rows, err := p.control.Query(context.Background(), `SELECT job_id, lease FROM sim.effects ORDER BY lease`)
		if err != nil {
			return err
		}
		var id uuid.UUID
		var lease int
		_, err = pgx.ForEachRow(rows, []any{&id, &lease}, func() error {
			effects[id] = append(effects[id], lease)
			return nil
		})
		return err
	})
	return effects
}

// compareEffects checks that, with CompleteTx, the runs that completed are those whose transactions
// were committed.
func (w *world) compareEffects(page jobs.Detail, effects []int) {
	if page.Kind != "tx" {
		return
	}
	var completed []int
	for _, a := range page.Attempts {
		if a.Outcome == jobs.AttemptCompleted {
			completed = append(completed, a.Lease)
		}
	}
	slices.Sort(completed)
	if !slices.Equal(completed, effects) {
		w.broken(oneEffect, "job %s completed under the leases %v and has effects of %v", w.nameOf(page.ID), completed, effects)
	}
}

func (l *ledger) of(id uuid.UUID) (list []*run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.runs {
		if r.job == id {
			list = append(list, r)
		}
	}
	return list
}
