package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"
)

// LeaderlessQueues deletes job queues that have no leader and will not get one. Seen with RabbitMQ
// 3.10: when a node dies at the moment in which it declares a quorum queue, the queue's other
// members exist but none stands for election, and no message is ever confirmed or delivered. Relays
// and workers declare the deleted queue again, and messages that the broker never confirmed are
// still in the outbox. Only one may run at a time in a deployment.
type LeaderlessQueues struct {
	// Leaderless lists the job queues without a leader although every node that has a member of
	// theirs is running.
	Leaderless func(ctx context.Context) ([]string, error)
	// Unconfirmed lists the job queues to which messages were sent that the broker does not confirm.
	Unconfirmed func(ctx context.Context) ([]string, error)
	// Delete deletes the queue and records the deletion.
	Delete func(ctx context.Context, queue string) error
	Log    *slog.Logger
	Every  time.Duration // 0 means 10 s

	seen map[string]int // consecutive rounds in which each queue was leaderless and unconfirmed
}

const (
	leaderlessEvery = 10 * time.Second
	leaderlessTimes = 4 // rounds: an election takes a second, and counts of a new queue come within 8 s
)

// Run checks and repairs until ctx ends and returns nil.
func (s *LeaderlessQueues) Run(ctx context.Context) error {
	every(ctx, cmp.Or(s.Every, leaderlessEvery), s.Log, "look for queues without a leader", s.runOnce)
	return nil
}

func (s *LeaderlessQueues) runOnce(ctx context.Context) error {
	suspects, err := s.suspects(ctx)
	if err != nil {
		s.seen = nil // only consecutive rounds count, and this one failed
		return err
	}
	looks := map[string]int{}
	for _, queue := range suspects {
		if looks[queue] = s.seen[queue] + 1; looks[queue] < leaderlessTimes {
			continue
		}
		s.Log.Warn("a queue has never got a leader, and the broker confirms nothing that is sent to it: it is deleted and declared again",
			"queue", queue)
		if err := s.Delete(ctx, queue); err != nil {
			return err
		}
		delete(looks, queue)
	}
	s.seen = looks
	return nil
}

func (s *LeaderlessQueues) suspects(ctx context.Context) ([]string, error) {
	leaderless, err := s.Leaderless(ctx)
	if err != nil || len(leaderless) == 0 {
		return nil, err
	}
	unconfirmed, err := s.Unconfirmed(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(leaderless, func(queue string) bool { return !slices.Contains(unconfirmed, queue) }), nil
}
