package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

// SchedulerStore is what the scheduler needs from the database. Any number of schedulers may call
// it at once.
type SchedulerStore interface {
	EnqueueDue(ctx context.Context, limit int) ([]uuid.UUID, error)
	// FireSchedules may return what it fired together with an error, which then names the schedules that cannot fire.
	FireSchedules(ctx context.Context, limit int) (Fired, error)
	// GoneHolders lists the holders of running jobs whose session has expired; none unless own was
	// renewed in the last 2 s.
	GoneHolders(ctx context.Context, own uuid.UUID) ([]uuid.UUID, error)
	Recover(ctx context.Context, holder uuid.UUID, limit int) ([]uuid.UUID, error)
	// FailRejected ends the attempt of a job whose message a worker of another program has rejected,
	// and reports whether it did.
	FailRejected(ctx context.Context, id uuid.UUID, dispatch int) (bool, error)
	DispatchDead(ctx context.Context, id uuid.UUID, dispatch int) (bool, error)
	Known(ctx context.Context, id uuid.UUID, dispatch int) (bool, error)
	RefuseForeign(ctx context.Context, in Delivery, why string) (uuid.UUID, error)
}

// Fired is what schedules did: their ids, and the jobs that they enqueued.
type Fired struct {
	Jobs      []uuid.UUID
	Schedules []string
	Tasks     bool // some of them belong to tasks
}

// DeadLetters opens subscriptions on the dead-letter queue.
type DeadLetters interface {
	ConsumeDead(ctx context.Context) (Subscription, error)
}

// Timing and limits of the scheduler.
const (
	duePoll      = 200 * time.Millisecond
	dueBatch     = 500
	fireBatch    = 100
	recoverEvery = 2 * time.Second
	recoverBatch = 200
	adaptiveMost = 50 * time.Second
	turnMax      = 30 * time.Second // a database that never answers must not hold up the next turn
)

// Scheduler moves due jobs back to the outbox, recovers the jobs of workers that are gone, and
// answers dead letters. Any number may run side by side.
type Scheduler struct {
	Store       SchedulerStore
	DeadLetters DeadLetters
	OpenSession func(ctx context.Context) (Session, error)
	Announce    Announce
	Log         *slog.Logger

	seen map[uuid.UUID]time.Time // holders that were found expired, and since when
}

// Run schedules until ctx ends and returns nil.
func (s *Scheduler) Run(ctx context.Context) error {
	s.seen = map[uuid.UUID]time.Time{}
	var loops sync.WaitGroup
	loops.Go(func() { every(ctx, duePoll, s.Log, "scheduler: enqueue due jobs", s.enqueueDue) })
	loops.Go(func() { every(ctx, duePoll, s.Log, "scheduler: fire schedules", s.fireSchedules) })
	loops.Go(func() { s.recoverLoop(ctx) })
	loops.Go(func() {
		answers{"scheduler: answer dead letters", s.DeadLetters.ConsumeDead, s.answer, s.Log}.run(ctx)
	})
	loops.Wait()
	return nil
}

func (s *Scheduler) enqueueDue(ctx context.Context) error {
	for {
		ids, err := s.Store.EnqueueDue(ctx, dueBatch)
		if err != nil {
			return err
		}
		s.announce(ids, "scheduler: due jobs queued")
		if len(ids) < dueBatch {
			return nil
		}
	}
}

func (s *Scheduler) fireSchedules(ctx context.Context) error {
	fired, err := s.Store.FireSchedules(ctx, fireBatch)
	s.announce(fired.Jobs, "scheduler: schedules fired")
	if len(fired.Schedules) > 0 {
		s.Announce(TopicSchedules, fired.Schedules...)
	}
	if fired.Tasks {
		s.Announce(TopicTasks) // their next times
	}
	return err
}

func (s *Scheduler) announce(ids []uuid.UUID, what string) {
	announceJobs(s.Log, s.Announce, ids, what)
}

// recoverLoop recovers the jobs of workers that are gone, until ctx ends. It holds a session of its
// own: a process may judge another's session expired only while it can renew its own.
func (s *Scheduler) recoverLoop(ctx context.Context) {
	var session Session
	every(ctx, recoverEvery, s.Log, "scheduler: recover jobs of workers that are gone", func(ctx context.Context) error {
		if session == nil {
			opened, err := s.OpenSession(ctx)
			if err != nil {
				return err
			}
			session = opened
		}
		if err := session.Renew(ctx); err != nil {
			clear(s.seen) // a stall may have delayed the renewals of all holders
			_ = closeSession(ctx, session)
			session = nil
			return err
		}
		return s.recover(ctx, session.Holder().Session)
	})
	if session != nil {
		_ = closeSession(ctx, session)
	}
}

// recover recovers the jobs of holders that were found expired twice, 2 s apart. An expired session
// cannot be renewed, so what the second check found still holds.
func (s *Scheduler) recover(ctx context.Context, own uuid.UUID) error {
	gone, err := s.Store.GoneHolders(ctx, own)
	if err != nil {
		return err
	}
	now := time.Now()
	still := map[uuid.UUID]time.Time{}
	for _, holder := range gone {
		first, before := s.seen[holder]
		if !before {
			first = now
		}
		still[holder] = first
		if now.Sub(first) < recoverEvery {
			continue
		}
		if err := s.recoverAll(ctx, holder); err != nil {
			return err
		}
	}
	s.seen = still
	return nil
}

func (s *Scheduler) recoverAll(ctx context.Context, holder uuid.UUID) error {
	for {
		ids, err := s.Store.Recover(ctx, holder, recoverBatch)
		if err != nil {
			return err
		}
		s.announce(ids, "scheduler: recovered jobs of a worker that is gone")
		if len(ids) < recoverBatch {
			return nil
		}
	}
}

// answer is fenced on (job, dispatch): a job that never started gets its next dispatch; nothing is
// done for one that runs, has ended or has a newer dispatch, as the database is right; the attempt of
// one at a worker of another program has failed; the message of an unknown job becomes a dead job to
// look at.
func (s *Scheduler) answer(ctx context.Context, in Delivery) error {
	if in.Foreign() {
		id, err := s.Store.RefuseForeign(ctx, in, "a dead letter that is not a job of Warren's")
		if err == nil {
			s.announce([]uuid.UUID{id}, "scheduler: kept a foreign dead letter")
		}
		return err
	}
	known, err := s.Store.Known(ctx, in.JobID, in.Dispatch)
	if err != nil {
		return err
	}
	if !known {
		id, err := s.Store.RefuseForeign(ctx, in, unknownJob(in))
		if err == nil {
			s.announce([]uuid.UUID{id}, "scheduler: kept the message of an unknown job")
		}
		return err
	}
	failed, err := s.Store.FailRejected(ctx, in.JobID, in.Dispatch)
	if err != nil || failed {
		if failed {
			s.announce([]uuid.UUID{in.JobID}, "scheduler: the message of a job at another program's worker was rejected")
		}
		return err
	}
	again, err := s.Store.DispatchDead(ctx, in.JobID, in.Dispatch)
	if again {
		s.announce([]uuid.UUID{in.JobID}, "scheduler: dispatched a dead-lettered job again")
	}
	return err
}
