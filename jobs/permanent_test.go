package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
)

func TestAPermanentFailureEndsTheJobAtOnce(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error {
		return fmt.Errorf("charge: %w", jobs.Permanent(&stolen{"4711"}))
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(jobs.MaxAttempts(5)), jobs.Dead)
	require.Len(t, job.Attempts, 1)
	require.Equal(t, "charge: card 4711 is stolen", job.Attempts[0].Error)
	require.Equal(t, "*jobs_test.stolen", job.Attempts[0].ErrorClass, "the class is that of the error, not of the mark")
	require.NoError(t, jobs.Permanent(nil))
}

type stolen struct{ card string }

func (e *stolen) Error() string { return "card " + e.card + " is stolen" }

func TestWhatAFailedAttemptPutOutStaysWithTheJob(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		return errors.Join(run.Output(map[string]int{"attempt": run.Attempt}), errors.New("no"))
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(jobs.MaxAttempts(1)), jobs.Dead)
	require.JSONEq(t, `{"attempt":1}`, string(job.Output))
}

// even is a kind with a rule that no schema says.
type even struct {
	N int `json:"n"`
}

func (even) Kind() string { return "even" }

func (e even) Validate() error {
	switch {
	case e.N < 0:
		return errors.New("counts down")
	case e.N%2 == 1:
		return jobs.FieldErrors{{Field: "n", Message: "must be even"}}
	}
	return nil
}

func TestAKindsOwnCheckIsAskedAtSubmissionAndBeforeTheRun(t *testing.T) {
	b := setup(t)
	b.kinds(kinds.Config{}, jobs.Handle(func(context.Context, *jobs.Run, even) error { return nil }))
	check := func(args string) error { return b.reg.Check("even", json.RawMessage(args)) }
	require.NoError(t, check(`{"n":2}`))
	require.Equal(t, jobs.FieldErrors{{Field: "args.n", Message: "must be even"}}, check(`{"n":1}`))
	require.Equal(t, jobs.FieldErrors{{Field: "args", Message: "counts down"}}, check(`{"n":-1}`))
	require.Error(t, check(`{"n":1e30}`), "what no Go value takes")

	b.relay()
	b.worker("w")
	job := b.ended(b.enqueue(jobs.New(even{N: 1}))[0], jobs.Dead) // Enqueue knows no kinds
	require.Equal(t, "n: must be even", job.Attempts[0].Error)
}

func TestAnHTTPJobIsTriedAgainUntilItIsDeadAndKeepsTheLastAnswer(t *testing.T) {
	b := setup(t)
	allow, err := kinds.ParseHTTPAllow([]string{"127.0.0.1"})
	require.NoError(t, err)
	b.kinds(kinds.Config{HTTPAllow: allow})
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "call %d", calls.Add(1))
	}))
	t.Cleanup(s.Close)
	b.relay()
	b.worker("w")
	b.scheduler()
	id := b.enqueue(jobs.New(kinds.HTTP{URL: s.URL}, jobs.MaxAttempts(2)))[0]
	b.eventually(id, "retrying", in(jobs.Retrying))
	b.exec(`UPDATE warren.jobs SET run_at = now() WHERE id = $1`, id)
	job := b.ended(id, jobs.Dead)
	require.Len(t, job.Attempts, 2)
	require.Contains(t, *job.LastError, "status 500 Internal Server Error: call 2")
	var got struct {
		Status int
		Body   string
	}
	require.NoError(t, json.Unmarshal(job.Output, &got))
	require.Equal(t, 500, got.Status)
	require.Equal(t, "call 2", got.Body)

	refused := b.ended(b.enqueue(jobs.New(kinds.HTTP{URL: "http://169.254.169.254/latest/meta-data"}))[0], jobs.Dead)
	require.Len(t, refused.Attempts, 1)
	require.Contains(t, *refused.LastError, "not allowed (link-local)")
	require.Equal(t, "*kinds.refusedError", refused.Attempts[0].ErrorClass)
}

func TestAnExportThatIsTooLargeIsNotTriedAgain(t *testing.T) {
	b := setup(t)
	b.kinds(kinds.Config{Tasks: b.store, Announce: silent})
	b.exec(`INSERT INTO warren.tasks (id, description) SELECT gen_random_uuid(), repeat('x', 2000) FROM generate_series(1, 34000)`)
	b.relay()
	b.worker("w")
	job := b.ended(b.enqueue(jobs.NewJob{Kind: "tasks.export", Args: json.RawMessage(`{}`)})[0], jobs.Dead)
	require.Len(t, job.Attempts, 1)
	require.Contains(t, job.Attempts[0].Error, "larger than 64 MiB: export fewer tasks at once")
}
