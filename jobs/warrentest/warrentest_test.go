package warrentest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/warrentest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	warrentest.Stop()
	os.Exit(code)
}

type sum struct {
	Numbers []int `json:"numbers" jsonschema:"minItems=1"`
}

func (sum) Kind() string { return "sum" }

func add(_ context.Context, run *jobs.Run, args sum) error {
	total := 0
	for i, n := range args.Numbers {
		if n < 0 {
			return jobs.Permanent(errors.New("a negative number"))
		}
		total += n
		run.Progress(float64(i+1)/float64(len(args.Numbers)), "adding")
	}
	if total == 0 {
		return jobs.Snooze(time.Minute)
	}
	run.Log().Info("added", "total", total)
	return run.Output(total)
}

func TestWork_ShowsWhatAHandlerDid(t *testing.T) {
	t.Parallel()
	done := warrentest.Work(t, add, sum{[]int{1, 2, 3}})
	require.Equal(t, jobs.Completed, done.State)
	var total int
	done.Output(t, &total)
	require.Equal(t, 6, total)
	require.InDelta(t, 1, done.Progress.Done, 0)
	require.Len(t, done.Log, 1)

	failed := warrentest.Work(t, add, sum{[]int{-1}})
	require.Equal(t, jobs.Dead, failed.State)
	require.Equal(t, "a negative number", failed.Error)

	later := warrentest.Work(t, add, sum{[]int{0}})
	require.Equal(t, jobs.AttemptSnoozed, later.Outcome)
	require.Equal(t, time.Minute, later.Wait)
}

func TestOpen_WorksWhatATransactionEnqueued(t *testing.T) {
	t.Parallel()
	ran := make(chan int, 9)
	d := warrentest.Open(t, jobs.Handle(func(_ context.Context, _ *jobs.Run, args sum) error {
		ran <- args.Numbers[0]
		return nil
	}))
	conn, err := pgx.Connect(t.Context(), d.DatabaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	enqueue := func(n int, undo error) error {
		return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			_, err := d.EnqueueTx(t.Context(), warren.Pgx(tx), sum{[]int{n}})
			require.Equal(t, []sum{{[]int{n}}}, warrentest.Enqueued[sum](t, warren.Pgx(tx)))
			return errors.Join(err, undo)
		})
	}
	require.Error(t, enqueue(1, errors.New("no")))
	require.NoError(t, enqueue(2, nil))
	require.Equal(t, 2, <-ran)
}
