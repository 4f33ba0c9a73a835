package warren_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestSchedule_AProgramDeclaresItsSchedulesAtEachStart(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	var greeted atomic.Int32
	c, err := warren.Open(warren.Config{DatabaseURL: storetest.Database(t), BrokerURL: vhost.URL},
		jobs.Handle(func(context.Context, *jobs.Run, greeting) error { greeted.Add(1); return nil }, jobs.MaxAttempts(2)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	require.NoError(t, c.Migrate(ctx))
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		c.Close()
	})
	greet := schedule.Input{Name: "greet", Rule: "every 1s", Job: schedule.NewJob(greeting{"Ada"})}
	for range 2 {
		require.NoError(t, c.Schedule(ctx, greet))
	}
	require.Eventually(t, func() bool { return greeted.Load() > 1 }, time.Minute, 50*time.Millisecond)
	require.Equal(t, schedule.Job{Kind: "team.greeting", Args: []byte(`{"name":"Ada"}`)}, *greet.Job, "the caller's input stays as it is")

	var wrong jobs.FieldErrors
	require.ErrorAs(t, c.Schedule(ctx, greet, schedule.Input{Name: "bad", Rule: "sometimes", Job: greet.Job}), &wrong)
	require.Equal(t, "rule", wrong[0].Field)
}
