package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/outbox"
)

// taskColumns are the columns of taskTables that scanTask scans, in this order.
const (
	taskColumns = `t.id, t.description, t.priority, t.start_at, t.due_at, t.done, t.done_at, t.version, t.origin,
		t.created_at, t.updated_at,
		t.job_kind, t.job_args::text, t.job_queue, t.job_runs, coalesce(t.job_rule, ''), coalesce(t.job_zone, ''), s.next_at,
		coalesce(s.problem, '')`
	taskTables = `warren.tasks t LEFT JOIN warren.schedules s ON s.task_id = t.id`
)

func scanTask(row scanner) (tasks.Task, error) {
	var t tasks.Task
	var kind, args, queue *string
	var runs *tasks.Runs
	var job tasks.Job
	err := row.Scan(&t.ID, &t.Description, &t.Priority, &t.StartAt, &t.DueAt, &t.Done, &t.DoneAt, &t.Version, &t.Origin, &t.CreatedAt,
		&t.UpdatedAt,
		&kind, &args, &queue, &runs, &job.Rule, &job.Zone, &job.NextAt, &job.Problem)
	if err == nil && kind != nil {
		job.Kind, job.Args, job.Queue, job.Runs = *kind, json.RawMessage(*args), *queue, *runs
		t.Job = &job
	}
	return t, err
}

// Task reads a task. It returns jobs.ErrNotFound if there is none.
func (s *Store) Task(ctx context.Context, id uuid.UUID) (tasks.Task, error) {
	return readTask(ctx, s.pool.QueryRow, id, "")
}

func lockTask(ctx context.Context, tx pgx.Tx, id uuid.UUID) (tasks.Task, error) {
	return readTask(ctx, tx.QueryRow, id, " FOR UPDATE OF t")
}

func readTask(ctx context.Context, query func(context.Context, string, ...any) pgx.Row, id uuid.UUID, lock string) (tasks.Task, error) {
	t, err := scanTask(query(ctx, `SELECT `+taskColumns+` FROM `+taskTables+` WHERE t.id = $1`+lock, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return t, fmt.Errorf("task %s: %w", id, jobs.ErrNotFound)
	}
	if err != nil {
		return t, fmt.Errorf("read task %s: %w", id, err)
	}
	return t, nil
}

// CreateTask adds a task with its event, and its job if the job is to run now or at a set time. The
// input must be prepared.
func (s *Store) CreateTask(ctx context.Context, in tasks.Input, origin string, by jobs.Actor) (tasks.Task, error) {
	id := uuid.Must(uuid.NewV7())
	return s.changeTask(ctx, id, tasks.EventCreated, func(tx pgx.Tx) (change, error) {
		_, err := tx.Exec(ctx, `INSERT INTO warren.tasks (id, description, origin) VALUES ($1, $2, $3)`, id, in.Description, origin)
		if err != nil {
			return change{}, err
		}
		return change{after: in}, audit(ctx, tx, by, "task.create", taskTarget(id), map[string]any{"description": in.Description})
	})
}

// EditTask changes a task that still has that version. Errors: jobs.ErrNotFound, and a
// *tasks.ConflictError that holds the current task.
func (s *Store) EditTask(ctx context.Context, id uuid.UUID, version int, in tasks.Input, by jobs.Actor) (tasks.Task, error) {
	return s.changeTask(ctx, id, tasks.EventUpdated, func(tx pgx.Tx) (change, error) {
		before, err := lockTask(ctx, tx, id)
		if err == nil && before.Version != version {
			err = &tasks.ConflictError{Current: before}
		}
		if err != nil {
			return change{}, err
		}
		if was := before.Job; was != nil && in.Job != nil && tasks.SameArgs(was.Args, in.Job.Args) {
			job := *in.Job
			job.Args = was.Args // clients write what they read in their own way
			in.Job = &job
		}
		return change{before, in}, audit(ctx, tx, by, "task.edit", taskTarget(id), changedFields(before.Input(), in))
	})
}

// SetTaskDone marks a task done or open, whatever its version, because the intent is clear. It
// writes nothing if the task already is. Errors: jobs.ErrNotFound.
func (s *Store) SetTaskDone(ctx context.Context, id uuid.UUID, done bool, by jobs.Actor) (tasks.Task, error) {
	action := "task.reopen"
	if done {
		action = "task.done"
	}
	return s.setTask(ctx, id, action, by, func(in *tasks.Input) bool {
		changes := in.Done != done
		in.Done = done
		return changes
	})
}

// SetTaskPriority moves a task on the board, whatever its version. Errors: jobs.ErrNotFound.
func (s *Store) SetTaskPriority(ctx context.Context, id uuid.UUID, p tasks.Priority, by jobs.Actor) (tasks.Task, error) {
	return s.setTask(ctx, id, "task.edit", by, func(in *tasks.Input) bool {
		changes := in.Priority != p
		in.Priority = p
		return changes
	})
}

// setTask changes one field of a task; set reports whether that changes anything.
func (s *Store) setTask(ctx context.Context, id uuid.UUID, action string, by jobs.Actor, set func(*tasks.Input) bool) (tasks.Task, error) {
	task, err := s.changeTask(ctx, id, tasks.EventUpdated, func(tx pgx.Tx) (change, error) {
		before, err := lockTask(ctx, tx, id)
		if err != nil {
			return change{}, err
		}
		in := before.Input()
		if !set(&in) {
			return change{}, errUnchanged
		}
		return change{before, in}, audit(ctx, tx, by, action, taskTarget(id), changedFields(before.Input(), in))
	})
	if errors.Is(err, errUnchanged) {
		return s.Task(ctx, id)
	}
	return task, err
}

// DeleteTask removes a task with everything it had scheduled, and publishes the event. Its runs
// stay in the list of jobs. Errors: jobs.ErrNotFound.
func (s *Store) DeleteTask(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		task, err := lockTask(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := cancelStart(ctx, tx, task); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM warren.tasks WHERE id = $1`, id); err != nil {
			return err
		}
		event := taskEvent(tasks.EventDeleted, id, deletedTask{id, task.Version + 1})
		if err := outbox.Publish(ctx, outbox.Pgx(tx), event); err != nil {
			return err
		}
		return audit(ctx, tx, by, "task.delete", taskTarget(id), map[string]any{"description": task.Description, "version": task.Version})
	})
	if err != nil {
		return fmt.Errorf("delete task %s: %w", id, err)
	}
	return nil
}

func taskTarget(id uuid.UUID) string { return "task:" + id.String() }

// change is a task before a change, with version 0 if it is new, and its input after the change.
type change struct {
	before tasks.Task
	after  tasks.Input
}

// errUnchanged ends a transaction that would change nothing.
var errUnchanged = errors.New("nothing changes")

// changeTask runs one transaction: it writes the change, adapts the task's job, and publishes the
// event with the task as it is then.
func (s *Store) changeTask(
	ctx context.Context, id uuid.UUID, key string, decide func(tx pgx.Tx) (change, error),
) (task tasks.Task, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		c, err := decide(tx)
		if err != nil {
			return err
		}
		if err := writeTask(ctx, tx, id, c.before.Version+1, c.after); err != nil {
			return err
		}
		if err := armJob(ctx, tx, id, c); err != nil {
			return err
		}
		if task, err = readTask(ctx, tx.QueryRow, id, ""); err != nil {
			return err
		}
		return outbox.Publish(ctx, outbox.Pgx(tx), taskEvent(key, id, task))
	})
	if err != nil {
		return task, fmt.Errorf("change task %s: %w", id, err)
	}
	return task, nil
}

func writeTask(ctx context.Context, tx pgx.Tx, id uuid.UUID, version int, in tasks.Input) error {
	j, none := in.Job, in.Job == nil
	if none {
		j = &tasks.Job{}
	}
	_, err := tx.Exec(ctx, `
		UPDATE warren.tasks SET version = $2, description = $3, priority = $4, start_at = $5, due_at = $6, done = $7,
			done_at = CASE WHEN $7 THEN coalesce(done_at, clock_timestamp()) END, updated_at = clock_timestamp(),
			job_kind = nullif($8, ''), job_args = nullif($9, '')::json, job_queue = nullif($10, ''), job_runs = nullif($11, ''),
			job_rule = nullif($12, ''), job_zone = nullif($13, '')
		WHERE id = $1`, id, version, in.Description, string(in.Priority), in.StartAt, in.DueAt, in.Done,
		j.Kind, string(j.Args), j.Queue, string(j.Runs), j.Rule, j.Zone)
	if err != nil {
		return fmt.Errorf("write it: %w", err)
	}
	return nil
}

// changedFields returns the fields that an edit changed, for the audit log: [before, after] by
// field.
func changedFields(before, after any) map[string][2]any {
	read := func(in any) map[string]any {
		raw, _ := json.Marshal(in)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber() // float64 would not tell large numbers apart
		var m map[string]any
		_ = dec.Decode(&m)
		return m
	}
	was, is := read(before), read(after)
	changed := map[string][2]any{}
	for name := range is {
		if !reflect.DeepEqual(was[name], is[name]) {
			changed[name] = [2]any{was[name], is[name]}
		}
	}
	return changed
}

// Tasks reads one page of the list, in the order of the filter, at most limit tasks.
func (s *Store) Tasks(ctx context.Context, f tasks.Filter, c jobs.Cursor, limit int) (page jobs.Page[tasks.Task], err error) {
	how, err := s.textSearch(ctx, f.Text)
	if err != nil {
		return page, err
	}
	q, byDue := s.filteredTasks(ctx, f, how).Select(taskColumns), f.Order == tasks.OrderDue
	if byDue {
		q, err = seekDue(q, c, limit)
	} else {
		q, err = seekID[uuid.UUID](q, "t.id", c, limit)
	}
	if err != nil {
		return page, err
	}
	list, err := collectTasks(q)
	if err != nil {
		return page, err
	}
	return pageOf(list, c, limit, func(t tasks.Task) any {
		if byDue {
			return dueKey{t.DueAt, t.ID}
		}
		return t.ID
	}), nil
}

// dueKey is the key of a list of tasks that is ordered by due time.
type dueKey struct {
	At *time.Time
	ID uuid.UUID
}

// seekDue limits the query to one page of open tasks that is ordered by due time, as the index tasks_by_due is.
func seekDue(q *gorm.DB, c jobs.Cursor, limit int) (*gorm.DB, error) {
	key, first, err := keyOf[dueKey](c)
	if err != nil {
		return nil, err
	}
	const due = "coalesce(t.due_at, 'infinity')"
	comparison, direction := seek(c, false)
	if !first {
		q = q.Where("("+due+", t.id) "+comparison+" (coalesce(?::timestamptz, 'infinity'), ?)", key.At, key.ID)
	}
	return q.Order(due + " " + direction + ", t.id " + direction).Limit(limit + 1), nil
}

func collectTasks(q *gorm.DB) ([]tasks.Task, error) {
	list, err := collect(q, scanTask)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return list, nil
}

// BoardColumn holds the open tasks of one priority: the most urgent ones, and the number of all.
type BoardColumn struct {
	Priority tasks.Priority
	Tasks    []tasks.Task
	Count    jobs.Count
}

// TaskBoard reads the open tasks by priority, at most limit of each, soonest due first, as the list has them.
func (s *Store) TaskBoard(ctx context.Context, limit int) ([]BoardColumn, error) {
	var board []BoardColumn
	for _, p := range tasks.Priorities {
		f := tasks.Filter{View: tasks.ViewOpen, Priority: p, Order: tasks.OrderDue}
		page, err := s.Tasks(ctx, f, jobs.Cursor{}, limit)
		if err != nil {
			return nil, err
		}
		n, err := s.countTasks(ctx, f, textSearch{})
		if err != nil {
			return nil, err
		}
		board = append(board, BoardColumn{p, page.Items, n})
	}
	return board, nil
}

// TaskCounts counts the tasks of each view that match the filter's other fields, each up to
// jobs.CountCap + 1.
func (s *Store) TaskCounts(ctx context.Context, f tasks.Filter) (map[tasks.View]jobs.Count, error) {
	how, err := s.textSearch(ctx, f.Text)
	if err != nil {
		return nil, err
	}
	counts := map[tasks.View]jobs.Count{}
	for _, f.View = range tasks.Views {
		n, err := s.countTasks(ctx, f, how)
		if err != nil {
			return nil, err
		}
		counts[f.View] = n
	}
	return counts, nil
}

func (s *Store) countTasks(ctx context.Context, f tasks.Filter, how textSearch) (n jobs.Count, err error) {
	err = s.orm.WithContext(ctx).Table("(?) x", s.filteredTasks(ctx, f, how).Select("1").Limit(jobs.CountCap+1)).
		Select("count(*)").Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count tasks: %w", err)
	}
	return n, nil
}

func (s *Store) filteredTasks(ctx context.Context, f tasks.Filter, how textSearch) *gorm.DB {
	q := s.orm.WithContext(ctx).Table(taskTables)
	switch f.View {
	case tasks.ViewOpen:
		q = q.Where("NOT t.done")
	case tasks.ViewOverdue:
		q = q.Where("NOT t.done AND t.due_at < now()")
	case tasks.ViewDone:
		q = q.Where("t.done")
	case tasks.ViewAll:
	}
	if f.Priority != "" {
		q = q.Where("t.priority = ?", string(f.Priority))
	}
	switch {
	case f.Text == "":
		return q
	case how.id != uuid.Nil:
		return q.Where("t.id = ?", how.id)
	case how.few: // PostgreSQL has no statistics of rare words: it would walk through all tasks in their order
		return q.Where("t.id = ANY (ARRAY(SELECT task_id FROM warren.task_index WHERE words @@ ?::tsquery))", how.words)
	case how.words != "":
		return q.Where("t.id IN (SELECT task_id FROM warren.task_index WHERE words @@ ?::tsquery)", how.words)
	}
	return q.Where("t.id >= coalesce((SELECT id FROM warren.tasks ORDER BY id DESC OFFSET ? LIMIT 1), "+
		"'00000000-0000-0000-0000-000000000000')", jobs.SearchWindow).
		Where("t.description ILIKE ?", "%"+likeEscaper.Replace(cleanText(f.Text))+"%")
}
