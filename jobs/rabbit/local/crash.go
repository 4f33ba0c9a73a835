package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
)

// elect is Erlang code that asks each quorum queue for its members and triggers an election if there
// is no answer.
const elect = `[case catch ra:members(amqqueue:get_pid(Q), 500) of
	{ok, _, _} -> ok; _ -> ra:trigger_election(amqqueue:get_pid(Q)) end ||
	Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue].`

// electTimeout limits the elections: RabbitMQ's command line takes a second or two to start.
const electTimeout = 30 * time.Second

// markRunning reports whether the last server on the folder ended without a clean stop, and marks this one as running.
func (f folder) markRunning() (crashed bool, err error) {
	_, err = os.Stat(f.at("running"))
	crashed = err == nil
	if err := child.WriteOwn(f.at("running"), nil, 0o600, nil); err != nil {
		return crashed, fmt.Errorf("mark the broker as running: %w", err)
	}
	return crashed, nil
}

func (f folder) markStopped() error {
	if err := os.Remove(f.at("running")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mark the broker as stopped: %w", err)
	}
	return nil
}

// electLeaders repairs quorum queues that RabbitMQ 3.10 leaves leaderless when it is killed within
// about 3 s of their declaration: the queue's name is not on disk yet (names.dets), the queue starts
// from scratch, and as its only member calls no election, every operation on it times out for ever.
// After the election the queue is empty, which Warren's reconciler finds and repairs.
func (n node) electLeaders(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electTimeout)
	defer cancel()
	if err := child.Run(ctx, n.tool("rabbitmqctl", []string{"eval", elect}, "elect.log")); err != nil {
		return fmt.Errorf("look after the queues of a broker that was killed: %w", err)
	}
	return nil
}
