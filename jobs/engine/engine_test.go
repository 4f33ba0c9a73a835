package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
)

func TestEngine_AJobGoesThroughOutboxAndBrokerToAWorkerAndCompletes(t *testing.T) {
	b := setup(t)
	b.relay()
	b.background(b.newWorker("w1").Run)

	id := b.enqueue(jobs.New(kinds.Dots{Text: "Hello."}))[0]
	job := b.eventually(id, "completed", in(jobs.Completed))

	require.JSONEq(t, `{"dots":1}`, string(job.Output))
	require.Equal(t, 1, job.Attempt)
	require.Len(t, job.Attempts, 1)
	require.Equal(t, "w1", job.Attempts[0].Worker)
	require.Len(t, job.Deliveries, 1)
	require.False(t, job.Deliveries[0].Redelivered)
	require.NotNil(t, job.SentAt)
	b.outboxIsEmpty() // the relay removes what the broker confirmed
}
