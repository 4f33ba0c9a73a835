// Package warrentest helps to test programs that use Warren: handlers without any server, and
// whole programs against real servers.
package warrentest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/outbox"
	"github.com/warrenjobs/warren/store/storetest"
)

// Worked is the result of one attempt.
type Worked struct {
	State    jobs.State    // of the job afterwards
	Outcome  string        // of the attempt: jobs.AttemptCompleted and so on
	Error    string        // stored with the attempt
	Wait     time.Duration // until the next attempt, after a failure or a snooze
	Progress *jobs.Progress
	Log      []jobs.LogLine

	output json.RawMessage
}

// Output unmarshals the JSON that the handler stored with Run.Output. It fails the test if the
// handler stored none, or if it does not fit.
func (w Worked) Output(tb testing.TB, into any) {
	tb.Helper()
	require.NoError(tb, json.Unmarshal(w.output, into), "the handler kept %s", w.output)
}

// Work runs the first attempt of a job with these args, without servers. Args that a form or the
// API would refuse fail the test. A handler that calls CompleteTx needs a database: use Open.
func Work[A jobs.Args](tb testing.TB, handler func(context.Context, *jobs.Run, A) error, args A, options ...jobs.Option) Worked {
	tb.Helper()
	kind := jobs.Handle(handler)
	job := jobs.New(args, options...)
	require.NoError(tb, job.Prepare())
	require.NoError(tb, kind.Check(job.Args))
	run := &jobs.Run{ID: uuid.Must(uuid.NewV7()), Kind: job.Kind, Queue: job.Queue, Args: job.Args, Attempt: 1, Lease: 1}
	ctx := tb.Context()
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, job.Timeout)
		defer cancel()
	}
	r := engine.Try(ctx, kind, run, job.MaxAttempts)
	return Worked{State: r.State, Outcome: r.Outcome, Error: r.Failure.Error, Wait: r.Wait, Progress: r.Progress,
		Log: run.Record().LogLines(), output: run.Record().Output()}
}

// Deployment is a running client with a database and a virtual host of its own.
type Deployment struct {
	*warren.Client
	DatabaseURL string
	BrokerURL   string
}

// Open starts a deployment with these kinds, which runs until the test ends. Its servers are those
// of WARREN_TEST_DATABASE_URL, WARREN_TEST_AMQP_URL and WARREN_TEST_MANAGEMENT_URL, or private
// ones that all tests of the package share and that TestMain must end with Stop.
func Open(tb testing.TB, kinds ...*jobs.Kind) Deployment {
	tb.Helper()
	database, vhost := storetest.Database(tb), rabbittest.New(tb)
	c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: vhost.URL, ManagementURL: vhost.ManagementURL}, kinds...)
	require.NoError(tb, err)
	require.NoError(tb, c.Migrate(tb.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, <-done)
		c.Close()
	})
	return Deployment{Client: c, DatabaseURL: database, BrokerURL: vhost.URL}
}

// Stop ends the private servers, if Open has started any.
func Stop() {
	storetest.Stop()
	rabbittest.Stop()
}

// Enqueued returns the args of the jobs of A's kind that the open transaction has enqueued.
func Enqueued[A jobs.Args](tb testing.TB, tx warren.Tx) []A {
	tb.Helper()
	var zero A
	found, err := outbox.Written(tb.Context(), tx, zero.Kind())
	require.NoError(tb, err)
	list := make([]A, len(found))
	for i, raw := range found {
		require.NoError(tb, json.Unmarshal(raw, &list[i]))
	}
	return list
}
