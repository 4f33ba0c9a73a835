package store_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

func task(t *testing.T, s *store.Store, in tasks.Input) tasks.Task {
	t.Helper()
	require.NoError(t, in.Prepare())
	made, err := s.CreateTask(t.Context(), in, "app", somebody)
	require.NoError(t, err)
	return made
}

// versions returns the versions of a task's events, oldest first, with the last part of their keys.
func versions(t *testing.T, s *store.Store, id uuid.UUID) (words []string, numbers []int) {
	t.Helper()
	events, err := s.TaskEvents(t.Context(), id, 100)
	require.NoError(t, err)
	for i := len(events) - 1; i >= 0; i-- {
		var body struct{ Version int }
		require.NoError(t, json.Unmarshal(events[i].Body, &body))
		words, numbers = append(words, strings.TrimPrefix(events[i].Key, "tasks.event.")), append(numbers, body.Version)
	}
	return words, numbers
}

func TestTasks_EveryChangeOfATaskHasItsEventWithTheNextVersion(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := task(t, s, tasks.Input{Description: "Write it down"})
	require.Equal(t, 1, made.Version)
	in := made.Input()
	in.Priority = tasks.PriorityHigh
	edited, err := s.EditTask(t.Context(), made.ID, 1, in, somebody)
	require.NoError(t, err)
	require.Equal(t, 2, edited.Version)
	done, err := s.SetTaskDone(t.Context(), made.ID, true, somebody)
	require.NoError(t, err)
	require.NotNil(t, done.DoneAt)
	_, err = s.SetTaskDone(t.Context(), made.ID, true, somebody) // already done: no change, no event
	require.NoError(t, err)
	require.NoError(t, s.DeleteTask(t.Context(), made.ID, somebody))

	words, numbers := versions(t, s, made.ID)
	require.Equal(t, []string{"created", "updated", "updated", "deleted"}, words)
	require.Equal(t, []int{1, 2, 3, 4}, numbers)
	require.Equal(t, 4, number(t, conn, `SELECT count(*) FROM warren.outbox WHERE exchange = 'tasks' AND routing_key = type
		AND NOT required`))
	require.Equal(t, 4, number(t, conn, `SELECT count(*) FROM warren.audit WHERE target = $1`, "task:"+made.ID.String()))
	_, err = s.Task(t.Context(), made.ID)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}

func TestTasks_OfManyWhoSaveTheSameVersionOneWinsAndTheOthersSeeTheConflict(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	made := task(t, s, tasks.Input{Description: "Mine"})
	var won atomic.Int32
	var saving sync.WaitGroup
	for _, who := range []string{"Ada", "Bob", "Cleo", "Dan", "Eve", "Finn"} {
		saving.Go(func() {
			_, err := s.EditTask(t.Context(), made.ID, made.Version, tasks.Input{Description: who, Priority: tasks.PriorityNone}, somebody)
			var conflict *tasks.ConflictError
			switch {
			case err == nil:
				won.Add(1)
			case !errors.As(err, &conflict):
				t.Errorf("%s: %v", who, err)
			default:
				if conflict.Current.Version != 2 || conflict.Current.Description == who {
					t.Errorf("%s is told of %+v", who, conflict.Current)
				}
			}
		})
	}
	saving.Wait()
	require.EqualValues(t, 1, won.Load())
	_, numbers := versions(t, s, made.ID)
	require.Equal(t, []int{1, 2}, numbers)
}

func runs(t *testing.T, s *store.Store, id uuid.UUID) (states []jobs.State) {
	t.Helper()
	list, err := s.TaskRuns(t.Context(), id, jobs.Cursor{}, 10)
	require.NoError(t, err)
	for _, j := range list.Items {
		states = append(states, j.State)
	}
	return states
}

func TestTasks_ATasksJobRunsWhenItWasSaid(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	later, muchLater := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	now := task(t, s, tasks.Input{Description: "now", Job: &tasks.Job{Kind: "work", Runs: tasks.RunsNow}})
	require.Equal(t, []jobs.State{jobs.Queued}, runs(t, s, now.ID))
	_, err := s.SetTaskPriority(t.Context(), now.ID, tasks.PriorityHigh, somebody)
	require.NoError(t, err)
	require.Len(t, runs(t, s, now.ID), 1, "an edit runs nothing")

	start := task(t, s, tasks.Input{Description: "at its start", StartAt: &later, Job: &tasks.Job{Kind: "work", Runs: tasks.RunsAtStart}})
	require.Equal(t, []jobs.State{jobs.Scheduled}, runs(t, s, start.ID))
	in := start.Input()
	in.StartAt = &muchLater
	_, err = s.EditTask(t.Context(), start.ID, 1, in, somebody)
	require.NoError(t, err)
	require.Equal(t, []jobs.State{jobs.Scheduled, jobs.Cancelled}, runs(t, s, start.ID), "the run moves with the start")
	list, err := s.TaskRuns(t.Context(), start.ID, jobs.Cursor{}, 1)
	require.NoError(t, err)
	require.WithinDuration(t, muchLater, list.Items[0].RunAt, time.Millisecond)

	_, err = s.SetTaskDone(t.Context(), start.ID, true, somebody)
	require.NoError(t, err)
	require.Equal(t, []jobs.State{jobs.Cancelled, jobs.Cancelled}, runs(t, s, start.ID), "what is done runs no more")
	_, err = s.SetTaskDone(t.Context(), start.ID, false, somebody)
	require.NoError(t, err)
	require.Equal(t, []jobs.State{jobs.Scheduled, jobs.Cancelled, jobs.Cancelled}, runs(t, s, start.ID))
	require.NoError(t, s.DeleteTask(t.Context(), start.ID, somebody))
	require.Equal(t, []jobs.State{jobs.Cancelled, jobs.Cancelled, jobs.Cancelled}, runs(t, s, start.ID))

	_, err = s.RunTask(t.Context(), now.ID, somebody)
	require.NoError(t, err)
	require.Equal(t, []jobs.State{jobs.Queued, jobs.Queued}, runs(t, s, now.ID))
	plain := task(t, s, tasks.Input{Description: "no job"})
	_, err = s.RunTask(t.Context(), plain.ID, somebody)
	require.ErrorIs(t, err, jobs.ErrNoJob)
}

func TestTasks_TheRunAtATasksStartIsNotLostByAnEdit(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	later := time.Now().Add(time.Hour)
	made := task(t, s, tasks.Input{Description: "at its start", StartAt: &later, Job: &tasks.Job{Kind: "work", Runs: tasks.RunsAtStart}})
	edit := func(start time.Time, args string) {
		t.Helper()
		now, err := s.Task(t.Context(), made.ID)
		require.NoError(t, err)
		in := now.Input()
		in.StartAt, in.Job.Args = &start, json.RawMessage(args)
		require.NoError(t, in.Prepare())
		_, err = s.EditTask(t.Context(), made.ID, now.Version, in, somebody)
		require.NoError(t, err)
	}
	passed := time.Now().Add(-time.Minute)
	edit(passed, `{"n":1}`)
	require.Equal(t, []jobs.State{jobs.Queued, jobs.Cancelled}, runs(t, s, made.ID),
		"the start moved into the past before the run had begun: it begins")

	execute(t, conn, `UPDATE warren.jobs SET state = 'running', lease = 1 WHERE state = 'queued'`)
	edit(passed, `{"n":2}`)
	require.Equal(t, []jobs.State{jobs.Running, jobs.Cancelled}, runs(t, s, made.ID), "a start has one run")
	tomorrow := time.Now().Add(24 * time.Hour)
	edit(tomorrow, `{"n":2}`)
	require.Equal(t, []jobs.State{jobs.Scheduled, jobs.Running, jobs.Cancelled}, runs(t, s, made.ID),
		"a new start has its own, also while the one before is at work")

	execute(t, conn, `UPDATE warren.tasks SET start_at = now() - interval '1 second'`)
	execute(t, conn, `UPDATE warren.jobs SET run_at = t.start_at, unique_key = 'task:' || t.id || ':start:' || (extract(epoch
		FROM t.start_at) * 1000000)::bigint FROM warren.tasks t WHERE state = 'scheduled'`)
	now, err := s.Task(t.Context(), made.ID)
	require.NoError(t, err)
	edit(*now.StartAt, `{"n":3}`)
	require.Equal(t, []jobs.State{jobs.Queued, jobs.Cancelled, jobs.Running, jobs.Cancelled}, runs(t, s, made.ID),
		"the start came while no scheduler looked: the run has its new args")
}

func TestTasks_AScheduleFiresOnceAndDoesNotPileUp(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := task(t, s, tasks.Input{Description: "often", Job: &tasks.Job{Kind: "work", Runs: tasks.RunsSchedule, Rule: "every 1h"}})
	require.NotNil(t, made.Job.NextAt)
	require.WithinDuration(t, time.Now().Add(time.Hour), *made.Job.NextAt, time.Minute)
	fired, err := s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, fired.Jobs, "not before its time")

	missed := func() { execute(t, conn, `UPDATE warren.schedules SET next_at = now() - interval '5 hours'`) }
	missed()
	var total atomic.Int32
	var firing sync.WaitGroup
	for range 4 {
		firing.Go(func() {
			fired, err := s.FireSchedules(t.Context(), 10)
			if err != nil {
				t.Error(err)
			}
			total.Add(int32(len(fired.Jobs)))
		})
	}
	firing.Wait()
	require.EqualValues(t, 1, total.Load(), "five missed times are one run, whoever fires")
	require.Equal(t, []jobs.State{jobs.Queued}, runs(t, s, made.ID))

	missed()
	_, err = s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, runs(t, s, made.ID), 1, "the run before is still open")
	open, err := s.OpenScheduledRun(t.Context(), made.ID)
	require.NoError(t, err)
	list, err := s.TaskRuns(t.Context(), made.ID, jobs.Cursor{}, 1)
	require.NoError(t, err)
	require.Equal(t, list.Items[0].ID, open)
	execute(t, conn, `UPDATE warren.jobs SET state = 'completed', finished_at = now()`)
	missed()
	_, err = s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, runs(t, s, made.ID), 2)
	execute(t, conn, `UPDATE warren.jobs SET state = 'completed', finished_at = now()`)
	open, err = s.OpenScheduledRun(t.Context(), made.ID)
	require.NoError(t, err)
	require.Zero(t, open)

	_, err = s.SetTaskDone(t.Context(), made.ID, true, somebody)
	require.NoError(t, err)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.schedules`), "a done task has no next time")
}

// planned is what the database holds of a task's schedule and of its waiting jobs.
func planned(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var list string
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT coalesce((SELECT string_agg(concat_ws(' ', id, created_at, next_at), ', ') FROM warren.schedules), '') || ' ' ||
			coalesce((SELECT string_agg(concat_ws(' ', id, state, run_at, args), ', ' ORDER BY id) FROM warren.jobs), '')`).Scan(&list))
	return list
}

func TestTasks_AnEditMovesNothingThatItDoesNotChange(t *testing.T) {
	t.Parallel()
	start := time.Now().Add(time.Hour).Truncate(time.Second).Add(123456789) // finer than the database
	often, daily := tasks.Job{Runs: tasks.RunsSchedule, Rule: "every 10m"}, tasks.Job{Runs: tasks.RunsSchedule, Rule: "0 9 * * *"}
	spaced := tasks.Job{Runs: tasks.RunsSchedule, Rule: " 30  9 * * 1-5 "}
	once, now := tasks.Job{Runs: tasks.RunsAtStart}, tasks.Job{Runs: tasks.RunsNow}
	args := func(text string) func(*tasks.Input) { return func(in *tasks.Input) { in.Job.Args = []byte(text) } }
	for name, c := range map[string]struct {
		job    tasks.Job
		change func(*tasks.Input)
		moves  bool
	}{
		"schedule, description":                     {often, func(in *tasks.Input) { in.Description = "b" }, false},
		"schedule, start":                           {often, func(in *tasks.Input) { in.StartAt = nil }, false},
		"schedule, blanks of its rule":              {spaced, func(in *tasks.Input) { in.Job.Rule = "30 9 * * 1-5" }, false},
		"schedule, args":                            {often, args(`{"n":2}`), false},
		"schedule, queue":                           {often, func(in *tasks.Input) { in.Job.Queue = "mail" }, false},
		"schedule, rule":                            {often, func(in *tasks.Input) { in.Job.Rule = "every 20m" }, true},
		"schedule, zone":                            {daily, func(in *tasks.Input) { in.Job.Zone = "Asia/Tokyo" }, true},
		"schedule, done":                            {daily, func(in *tasks.Input) { in.Done = true }, true},
		"start, priority":                           {once, func(in *tasks.Input) { in.Priority = tasks.PriorityHigh }, false},
		"start, the same once more":                 {once, func(in *tasks.Input) { in.StartAt = &start }, false},
		"start, args as another client writes them": {once, args(`{"url": "a?b\u0026c", "n":12345678901234567890}`), false},
		"start, a number that float64 lacks":        {once, args(`{"url":"a?b&c","n":12345678901234567891}`), true},
		"start, args":                               {once, args(`{}`), true},
		"now, kind":                                 {now, func(in *tasks.Input) { in.Job.Kind = "other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := database(t)
			c.job.Kind, c.job.Args = "work", json.RawMessage(`{ "n":12345678901234567890, "url":"a?b&c"}`)
			made := task(t, s, tasks.Input{Description: "a", StartAt: &start, Job: &c.job})
			execute(t, conn, `UPDATE warren.schedules SET next_at = now() - interval '1 minute'`) // and no scheduler has run
			before := planned(t, conn)
			in := made.Input()
			c.change(&in)
			require.NoError(t, in.Prepare())
			edited, err := s.EditTask(t.Context(), made.ID, 1, in, somebody)
			require.NoError(t, err)
			if c.moves {
				require.NotEqual(t, before, planned(t, conn))
				return
			}
			require.Equal(t, before, planned(t, conn))
			if tasks.SameArgs(in.Job.Args, made.Job.Args) {
				require.Equal(t, string(made.Job.Args), string(edited.Job.Args), "byte for byte")
			}
		})
	}
}

func TestTasks_ByDueTimeOverdueOnesAreFirstAndUndatedOnesLast(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	day := func(n int) *time.Time {
		at := time.Now().AddDate(0, 0, n)
		return &at
	}
	for name, due := range map[string]*time.Time{"later": day(2), "soon": day(1), "late": day(-1), "very late": day(-2)} {
		task(t, s, tasks.Input{Description: name, DueAt: due})
	}
	task(t, s, tasks.Input{Description: "done", DueAt: day(-3), Done: true})
	for _, name := range []string{"some day", "or never"} {
		task(t, s, tasks.Input{Description: name})
	}
	names := func(page jobs.Page[tasks.Task]) (list []string) {
		for _, task := range page.Items {
			list = append(list, task.Description)
		}
		return list
	}
	f := tasks.Filter{View: tasks.ViewOpen, Order: tasks.OrderDue}
	require.NoError(t, f.Check())
	var shown [][]string
	var page jobs.Page[tasks.Task]
	for next := (jobs.Cursor{}); page.Items == nil || page.Next != (jobs.Cursor{}); next = page.Next {
		var err error
		page, err = s.Tasks(t.Context(), f, next, 3)
		require.NoError(t, err)
		shown = append(shown, names(page))
	}
	require.Equal(t, [][]string{{"very late", "late", "soon"}, {"later", "some day", "or never"}}, shown)
	back, err := s.Tasks(t.Context(), f, page.Prev, 3)
	require.NoError(t, err)
	require.Equal(t, shown[0], names(back))

	execute(t, conn, `SET enable_seqscan = off`)
	rows, err := conn.Query(t.Context(), `EXPLAIN SELECT id FROM warren.tasks t WHERE NOT t.done
		AND (coalesce(t.due_at, 'infinity'), t.id) > (coalesce($1::timestamptz, 'infinity'), $2)
		ORDER BY coalesce(t.due_at, 'infinity'), t.id LIMIT 3`, day(0), back.Items[0].ID)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "Index Scan using tasks_by_due")
	require.NotContains(t, strings.Join(plan, "\n"), "Sort")
}

func TestTasks_TheAuditLogNamesWhatAnEditChanged(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	made := task(t, s, tasks.Input{Description: "a",
		Job: &tasks.Job{Kind: "work", Args: []byte(`{"n":12345678901234567890}`), Runs: tasks.RunsNow}})
	in := made.Input()
	in.Job.Args = []byte(`{"n":12345678901234567891}`)
	_, err := s.EditTask(t.Context(), made.ID, 1, in, somebody)
	require.NoError(t, err)
	in.Priority, in.Job.Args = tasks.PriorityLow, []byte(`{"n": 12345678901234567891}`)
	_, err = s.EditTask(t.Context(), made.ID, 2, in, somebody)
	require.NoError(t, err)
	page, err := s.Audit(t.Context(), jobs.AuditFilter{Action: "task.edit"}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.JSONEq(t, `{"priority":["none","low"]}`, string(page.Items[0].Details))
	require.Contains(t, string(page.Items[1].Details), `12345678901234567891`)
}

func TestTasks_AScheduleThatCannotBeReadIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	schedule := &tasks.Job{Kind: "work", Runs: tasks.RunsSchedule, Rule: "0 9 * * *", Zone: "Europe/Berlin"}
	gone := task(t, s, tasks.Input{Description: "its zone goes", Job: schedule})
	bad := task(t, s, tasks.Input{Description: "its queue is not taken any more", Job: schedule})
	other := task(t, s, tasks.Input{Description: "all is well", Job: schedule})
	execute(t, conn, `UPDATE warren.schedules SET next_at = now() - interval '1 minute'`)
	execute(t, conn, `UPDATE warren.schedules SET zone = 'Mars/Base' WHERE task_id = $1`, gone.ID)
	execute(t, conn, `UPDATE warren.schedules SET queue = 'a b', last_at = now() - interval '3 days' WHERE task_id = $1`, bad.ID)
	fire := func() []uuid.UUID {
		t.Helper()
		fired, err := s.FireSchedules(t.Context(), 10)
		require.ErrorContains(t, err, "cannot fire", "it is logged")
		return fired.Jobs
	}
	stuck := func(id uuid.UUID, why string) {
		t.Helper()
		now, err := s.Task(t.Context(), id)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Minute), *now.Job.NextAt, 30*time.Second)
		require.Contains(t, now.Job.Problem, why)
	}
	require.Len(t, fire(), 2, "what was due is run, also of the one that has no next time any more")
	stuck(gone.ID, `"Mars/Base" is not a known time zone`)
	stuck(bad.ID, `"a b" is not a valid queue name`)
	require.Len(t, runs(t, s, other.ID), 1)
	require.Empty(t, runs(t, s, bad.ID))

	execute(t, conn, `UPDATE warren.jobs SET state = 'completed', finished_at = now()`)
	retry := func() { execute(t, conn, `UPDATE warren.schedules SET next_at = now() WHERE problem IS NOT NULL`) }
	retry()
	require.Empty(t, fire(), "trying again does not run anything")
	stuck(gone.ID, "not a known time zone")
	stuck(bad.ID, "not a valid queue name")

	execute(t, conn, `UPDATE warren.schedules SET zone = 'Europe/Berlin', queue = 'default'`)
	retry()
	fired, err := s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, fired.Jobs, 1, "the run that was missed; the other goes on at its next time")
	require.Len(t, runs(t, s, bad.ID), 1)
	for _, id := range []uuid.UUID{gone.ID, bad.ID} {
		now, err := s.Task(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, now.Job.Problem)
		require.Equal(t, 9, now.Job.NextAt.In(berlin(t)).Hour())
	}
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return zone
}

func TestTasks_TwoRunsOfOneImportAddEachLineOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id, size, err := s.KeepFile(t.Context(), "x.csv", "text/csv", strings.NewReader("description\na\nb\n"))
	require.NoError(t, err)
	require.EqualValues(t, 16, size)
	_, err = s.OpenImport(t.Context(), id)
	require.NoError(t, err)
	batch := tasks.ImportBatch{File: id, Done: 16, Tasks: []tasks.Input{{Description: "a", Priority: "none"}},
		Refused: []tasks.LineError{{Line: 3, Error: "no\x00"}}}
	var moved atomic.Int32
	var importing sync.WaitGroup
	for range 4 {
		importing.Go(func() {
			if _, err := s.ImportTasks(t.Context(), batch); errors.Is(err, tasks.ErrMoved) {
				moved.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	importing.Wait()
	require.EqualValues(t, 3, moved.Load())
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.tasks`))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.outbox WHERE type = 'tasks.event.created'`))
	progress, err := s.OpenImport(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, tasks.Import{Done: 16, Created: 1, Refused: 1}, progress)
}

func TestTasks_AFileComesBackAsItWasAndATooLargeOneLeavesNothing(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	text := strings.Repeat("0123456789abcdef", 50_000) // more than three chunks
	id, _, err := s.KeepFile(t.Context(), strings.Repeat("ü", 300)+".csv", "text/csv", strings.NewReader(text))
	require.NoError(t, err)
	back, err := io.ReadAll(s.OpenFile(t.Context(), id))
	require.NoError(t, err)
	require.Equal(t, text, string(back))
	_, _, err = s.KeepFile(t.Context(), "big", "text/csv", io.LimitReader(zeros{}, tasks.FileMax+1))
	require.ErrorIs(t, err, tasks.ErrTooLarge)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.files`))
	require.Equal(t, 4, number(t, conn, `SELECT count(*) FROM warren.file_chunks`))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTasks_AFileThatIsSweptWhileItIsReadDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id, _, err := s.KeepFile(t.Context(), "tasks.csv", "text/csv", strings.NewReader(strings.Repeat("a line\n", 100_000)))
	require.NoError(t, err)
	r := s.OpenFile(t.Context(), id)
	_, err = io.ReadFull(r, make([]byte, 1000))
	require.NoError(t, err)
	execute(t, conn, `DELETE FROM warren.files`)
	_, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}

func TestTasks_ASweepRemovesAllThatIsOld(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.events (id, exchange, routing_key, body, created_at)
		SELECT gen_random_uuid(), 'tasks', 'k', '{}', now() - i * interval '1 day' FROM generate_series(1, 8) i, generate_series(1, 2500)`)
	n, err := s.Sweep(t.Context(), engine.RetentionDefault)
	require.NoError(t, err)
	require.EqualValues(t, 5000, n, "those of 7 and 8 days ago; at 2,000 a minute a busy team's would pile up")
}

func TestTasks_AreFoundByViewPriorityAndText(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	past := time.Now().Add(-time.Hour)
	late := task(t, s, tasks.Input{Description: "100% late", Priority: tasks.PriorityHigh, DueAt: &past})
	done := task(t, s, tasks.Input{Description: "100 done", Done: true, DueAt: &past})
	open := task(t, s, tasks.Input{Description: "open", Priority: tasks.PriorityLow})
	for _, c := range []struct {
		f    tasks.Filter
		want []uuid.UUID
	}{
		{tasks.Filter{View: tasks.ViewAll}, []uuid.UUID{open.ID, done.ID, late.ID}},
		{tasks.Filter{View: tasks.ViewOpen}, []uuid.UUID{open.ID, late.ID}},
		{tasks.Filter{View: tasks.ViewOverdue}, []uuid.UUID{late.ID}},
		{tasks.Filter{View: tasks.ViewDone}, []uuid.UUID{done.ID}},
		{tasks.Filter{View: tasks.ViewAll, Priority: tasks.PriorityLow}, []uuid.UUID{open.ID}},
		{tasks.Filter{View: tasks.ViewAll, Text: "0% L"}, []uuid.UUID{late.ID}},
		{tasks.Filter{View: tasks.ViewAll, Text: done.ID.String()}, []uuid.UUID{done.ID}},
	} {
		page, err := s.Tasks(t.Context(), c.f, jobs.Cursor{}, 10)
		require.NoError(t, err)
		var ids []uuid.UUID
		for _, task := range page.Items {
			ids = append(ids, task.ID)
		}
		require.Equal(t, c.want, ids, "%+v", c.f)
	}
	all := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[tasks.Task], error) {
		return s.Tasks(t.Context(), tasks.Filter{View: tasks.ViewAll}, c, 2)
	})
	require.Len(t, all, 3)
	require.Equal(t, late.ID, all[2].ID)

	board, err := s.TaskBoard(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, tasks.PriorityHigh, board[0].Priority)
	require.Equal(t, late.ID, board[0].Tasks[0].ID)
	require.Empty(t, board[3].Tasks, "done tasks are not on the board")
}
