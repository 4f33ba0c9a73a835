package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

// indexer indexes changes of tasks as the subscriber does.
type indexer struct {
	*testing.T
	store *store.Store
	conn  *pgx.Conn
	hold  engine.Holder
}

func newIndexer(t *testing.T) *indexer {
	t.Helper()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	return &indexer{t, s, conn, w}
}

// keep makes the index one that searches read.
func (x *indexer) keep() {
	x.Helper()
	_, err := x.store.SaveBindings(x.Context(),
		engine.Subscriber{Name: tasks.Search, Exchange: tasks.Exchange, Patterns: []string{tasks.EventAny}})
	require.NoError(x, err)
	x.build()
}

func (x *indexer) index(changes ...tasks.Indexed) {
	x.Helper()
	for _, change := range changes {
		id := add(x.T, x.store, work())[0]
		c := claim(x.T, x.store, x.hold, id)
		require.NoError(x, x.store.IndexTask(x.Context(), &jobs.Run{ID: id, Lease: c.Lease}, change))
		require.Equal(x, jobs.Completed, read(x.T, x.store, id).State)
	}
}

func (x *indexer) build() {
	x.Helper()
	job := uuid.Must(uuid.NewV7())
	for more := true; more; {
		done, err := x.store.BuildTaskIndex(x.Context(), job, 2)
		require.NoError(x, err)
		more = done.More
	}
}

// found returns the descriptions that a search finds, newest first.
func (x *indexer) found(text string) (list []string) {
	x.Helper()
	page, err := x.store.Tasks(x.Context(), tasks.Filter{View: tasks.ViewAll, Text: text}, jobs.Cursor{}, 50)
	require.NoError(x, err)
	for _, t := range page.Items {
		list = append(list, t.Description)
	}
	return list
}

// differences counts the tasks that the index has otherwise than the table.
func (x *indexer) differences() int {
	x.Helper()
	return number(x.T, x.conn, `SELECT count(*) FROM warren.tasks t
		FULL JOIN (SELECT * FROM warren.task_index WHERE words IS NOT NULL) i ON i.task_id = t.id
		WHERE t.version IS DISTINCT FROM i.version`)
}

func change(t tasks.Task) tasks.Indexed {
	return tasks.Indexed{ID: t.ID, Version: t.Version, Description: t.Description}
}

func TestTaskIndex_FindsEachWordByItsBeginning(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	task(t, x.store, tasks.Input{Description: "Send invoice #4711 to Ärzte"})
	task(t, x.store, tasks.Input{Description: "明日の会議"})
	task(t, x.store, tasks.Input{Description: "Nothing"})
	require.Equal(t, []string{"Send invoice #4711 to Ärzte"}, x.found("voice"), "without an index a part of the text is found")
	x.keep()
	for text, want := range map[string][]string{
		"inv": {"Send invoice #4711 to Ärzte"}, "471 INVOICE ärz": {"Send invoice #4711 to Ärzte"}, "会議": {"明日の会議"},
		"voice": nil, "inv nothing": nil, "' | b:*": nil, "#4711": {"Send invoice #4711 to Ärzte"}, `\`: nil,
	} {
		require.Equal(t, want, x.found(text), text)
	}
	counts, err := x.store.TaskCounts(t.Context(), tasks.Filter{Text: "inv"})
	require.NoError(t, err)
	require.EqualValues(t, 1, counts[tasks.ViewOpen])
}

func TestTaskIndex_TheNewestVersionWinsAndADeletedTaskStaysDeleted(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	x.keep()
	made := task(t, x.store, tasks.Input{Description: "First"})
	in := made.Input()
	in.Description = "Second"
	edited, err := x.store.EditTask(t.Context(), made.ID, 1, in, somebody)
	require.NoError(t, err)
	x.index(change(edited), change(made), change(edited))
	require.Equal(t, []string{"Second"}, x.found("sec"))
	require.Empty(t, x.found("fir"), "an update came before the creation")

	require.NoError(t, x.store.DeleteTask(t.Context(), made.ID, somebody))
	x.index(tasks.Indexed{ID: made.ID, Version: 3, Deleted: true}, change(edited), change(made))
	require.Zero(t, x.differences())
	x.build()
	require.Zero(t, x.differences())
}

func TestTaskIndex_AChangeIsIndexedOnlyWithTheCompletionOfItsRun(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	id := add(t, x.store, work())[0]
	run := &jobs.Run{ID: id, Lease: claim(t, x.store, x.hold, id).Lease}
	execute(t, x.conn, `UPDATE warren.jobs SET lease = lease + 1 WHERE id = $1`, id)
	err := x.store.IndexTask(t.Context(), run, tasks.Indexed{ID: uuid.Must(uuid.NewV7()), Version: 1, Description: "x"})
	require.ErrorIs(t, err, jobs.ErrStale)
	require.Zero(t, number(t, x.conn, `SELECT count(*) FROM warren.task_index`))
}

func TestBuildTaskIndex_GoesOnAfterAKillAndBesideChanges(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	var list []tasks.Task
	for i := range 9 {
		list = append(list, task(t, x.store, tasks.Input{Description: fmt.Sprint("Task ", i)}))
	}
	job := uuid.Must(uuid.NewV7())
	_, err := x.store.BuildTaskIndex(t.Context(), job, 2)
	require.NoError(t, err)
	state, err := x.store.TaskIndex(t.Context())
	require.NoError(t, err)
	require.True(t, state.Building)
	// Others change and delete tasks before and after this place; the index hears of some of it only later.
	var late []tasks.Indexed
	for _, i := range []int{0, 5} {
		in := list[i].Input()
		in.Description = "Edited"
		edited, err := x.store.EditTask(t.Context(), list[i].ID, 1, in, somebody)
		require.NoError(t, err)
		late = append(late, change(edited))
	}
	for _, i := range []int{1, 6} {
		require.NoError(t, x.store.DeleteTask(t.Context(), list[i].ID, somebody))
		late = append(late, tasks.Indexed{ID: list[i].ID, Version: 2, Deleted: true})
	}
	for more := true; more; {
		done, err := x.store.BuildTaskIndex(t.Context(), job, 2)
		require.NoError(t, err)
		more = done.More
		require.LessOrEqual(t, done.Tasks, int64(8), "it went on where it was")
	}
	rand.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	x.index(late...)
	require.Zero(t, x.differences())

	execute(t, x.conn, `UPDATE warren.task_index SET words = 'wrong'`)
	execute(t, x.conn, `DELETE FROM warren.tasks WHERE id = $1`, list[3].ID) // and nobody said so
	x.keep()
	require.Zero(t, x.differences())
	require.Empty(t, x.found("wrong"))
	require.Len(t, x.found("edited"), 2)
}

func TestTaskIndex_SaysHowManyChangesItIsBehind(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	task(t, x.store, tasks.Input{Description: "Before the build"})
	state, err := x.store.TaskIndex(t.Context())
	require.NoError(t, err)
	require.False(t, state.Kept)
	x.keep()
	made := task(t, x.store, tasks.Input{Description: "Not received"})
	task(t, x.store, tasks.Input{Description: "Received, and dead"})
	deployment, err := x.store.DeploymentID(t.Context())
	require.NoError(t, err)
	receive := func(offset int) uuid.UUID {
		var event uuid.UUID
		require.NoError(t, x.conn.QueryRow(t.Context(), `SELECT id FROM warren.events ORDER BY id DESC OFFSET $1 LIMIT 1`,
			offset).Scan(&event))
		ids, err := x.store.AdoptEvents(t.Context(), []engine.Delivery{{Queue: tasks.Search, AppID: deployment, MessageID: event.String(),
			Exchange: tasks.Exchange, RoutingKey: tasks.EventCreated, ContentType: "application/json", Body: []byte(`{}`)}},
			func(*jobs.NewJob) error { return nil })
		require.NoError(t, err)
		return ids[0]
	}
	dead := receive(0)
	state, err = x.store.TaskIndex(t.Context())
	require.NoError(t, err)
	require.Equal(t, tasks.IndexState{Kept: true, Behind: 2}, state)
	execute(t, x.conn, `UPDATE warren.jobs SET state = 'completed', finished_at = now() WHERE id = $1`, receive(1))
	execute(t, x.conn, `UPDATE warren.jobs SET state = 'dead', finished_at = now() WHERE id = $1`, dead)
	state, err = x.store.TaskIndex(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, state.Behind, "%s is indexed", made.ID)
	x.build()
	state, err = x.store.TaskIndex(t.Context())
	require.NoError(t, err)
	require.Zero(t, state.Behind, "a build has everything")
}

func TestStartFirstIndex_BuildsOnceAndOnlyIfThereAreTasks(t *testing.T) {
	t.Parallel()
	job := func() jobs.NewJob { return jobs.NewJob{Kind: "tasks.reindex", UniqueKey: "tasks.reindex"} }
	empty := newIndexer(t)
	require.NoError(t, empty.store.StartFirstIndex(t.Context(), job()))
	require.Zero(t, number(t, empty.conn, `SELECT count(*) FROM warren.jobs`))
	require.Equal(t, 1, number(t, empty.conn, `SELECT count(complete_at) FROM warren.task_index_build`))

	x := newIndexer(t)
	task(t, x.store, tasks.Input{Description: "Old"})
	for range 2 {
		require.NoError(t, x.store.StartFirstIndex(t.Context(), job()))
	}
	require.Equal(t, 1, number(t, x.conn, `SELECT count(*) FROM warren.jobs`))
}

// Few tasks are read by their ids, many by walking the list.
func TestTaskIndex_PagesThroughRareAndCommonWordsAlike(t *testing.T) {
	t.Parallel()
	x := newIndexer(t)
	x.keep()
	execute(t, x.conn, `INSERT INTO warren.tasks (id, description, origin, due_at)
		SELECT overlay(gen_random_uuid()::text PLACING '7' FROM 15)::uuid, CASE WHEN i <= 5 THEN 'rare word' ELSE 'common word' END, 'test',
			now() + i * interval '1 s' FROM generate_series(1, $1) i`, jobs.CountCap+6)
	execute(t, x.conn, `
		INSERT INTO warren.task_index SELECT id, version, array_to_tsvector(string_to_array(description, ' ')) FROM warren.tasks`)
	for text, n := range map[string]int{"rar": 5, "com": 3, "wor": 4} {
		f := tasks.Filter{View: tasks.ViewOpen, Text: text, Order: tasks.OrderDue}
		all, err := x.store.Tasks(t.Context(), f, jobs.Cursor{}, n)
		require.NoError(t, err)
		require.Len(t, all.Items, n)
		first, err := x.store.Tasks(t.Context(), f, jobs.Cursor{}, 2)
		require.NoError(t, err)
		rest, err := x.store.Tasks(t.Context(), f, first.Next, n-2)
		require.NoError(t, err)
		require.Equal(t, all.Items, append(first.Items, rest.Items...), text)
		for i, item := range all.Items[1:] {
			require.True(t, item.DueAt.After(*all.Items[i].DueAt), text)
		}
	}
}
