//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

// workQueue is scenario 3: texts with dots, each a second of work, shared by workers that take one
// message at a time, and of which some are killed in the middle.
func workQueue(ctx context.Context, w *world, f form) (count, error) {
	const page = "docs/recipes/work-queue.md"
	commands, err := w.commands(page)
	if err != nil {
		return count{}, err
	}
	if _, err := w.recipe(ctx, page); err != nil {
		return count{}, err
	}
	q := &dotQueue{world: w, sent: strings.Count(commands, "warren enqueue ")}
	for _, role := range []string{"web", "relay", "scheduler", "monitor"} {
		if _, err := w.start("warren", role); err != nil {
			return count{}, err
		}
	}
	err = q.work(ctx, f)
	n, counted := q.count(ctx)
	return n, errors.Join(err, counted)
}

// dotQueue is the work queue: its workers, and how many jobs were handed in.
type dotQueue struct {
	*world
	workers []*process
	sent    int
}

func (q *dotQueue) work(ctx context.Context, f form) error {
	stuck, err := q.forget(ctx)
	if err != nil {
		return err
	}
	defer stuck.close()
	for range 2 {
		if err := q.addWorker(); err != nil {
			return err
		}
	}
	for i := range f.kills {
		if err := q.killOne(ctx, i+1); err != nil {
			return err
		}
	}
	if err := q.fair(ctx, f.jobs); err != nil {
		return err
	}
	if err := q.roundRobin(ctx, f.jobs); err != nil {
		return err
	}
	if err := q.page(ctx); err != nil {
		return err
	}
	if err := stuck.named(ctx, f.long); err != nil {
		return err
	}
	stuck.close()
	if _, err := q.start("warren", "worker", "--queue", queueForgotten); err != nil {
		return err
	}
	return q.drained(ctx)
}

func (q *dotQueue) addWorker() error {
	p, err := q.start("warren", "worker", "--queue", "default", "--concurrency", "1", "--prefetch", "1")
	if err == nil {
		q.workers = append(q.workers, p)
	}
	return err
}

var anID = regexp.MustCompile(`(?m)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// jobIDs returns the ids that warren enqueue prints.
func jobIDs(out string) (ids []uuid.UUID) {
	for _, id := range anID.FindAllString(out, -1) {
		ids = append(ids, uuid.MustParse(id))
	}
	return ids
}

// enqueue hands a text in on the command line.
func (q *dotQueue) enqueue(ctx context.Context, text string, flags ...string) ([]uuid.UUID, error) {
	out, err := q.warren(ctx, append([]string{"enqueue", "dots", fmt.Sprintf(`{"text":%q}`, text)}, flags...)...)
	if err != nil {
		return nil, err
	}
	ids := jobIDs(out)
	if len(ids) == 0 {
		return nil, fmt.Errorf("warren enqueue printed no id: %s", out)
	}
	q.sent += len(ids)
	return ids, nil
}

// killOne kills the worker of a job in the middle, and requires that the other worker does the job,
// and that the job's timeline and the queue's history tell so.
func (q *dotQueue) killOne(ctx context.Context, number int) error {
	before, err := q.justStarted(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(q.workers, func(p *process) bool { return before.Worker != nil && p.name == *before.Worker })
	if i < 0 {
		return fmt.Errorf("job %s runs on a worker that is not ours", before.ID)
	}
	victim, other := q.workers[i], q.workers[1-i]
	victim.kill()
	killed := time.Now()
	after, err := q.completed(ctx, before.ID)
	if err != nil {
		return err
	}
	q.log.Info("killed a worker in the middle", "number", number, "restarted_after", after.StartedAt.Sub(killed).Round(time.Millisecond))
	if err := q.told(ctx, before.ID, victim.name, other.name); err != nil {
		return err
	}
	q.workers[i], err = q.restart(victim)
	return err
}

// justStarted hands in a job of three seconds and returns when it has begun. On a machine that is too
// busy to see it in time it takes another.
func (q *dotQueue) justStarted(ctx context.Context) (jobs.Detail, error) {
	for {
		if err := q.idle(ctx); err != nil {
			return jobs.Detail{}, err
		}
		ids, err := q.enqueue(ctx, "Hello...")
		if err != nil {
			return jobs.Detail{}, err
		}
		var job jobs.Detail
		err = until(ctx, fmt.Sprintf("job %s has begun", ids[0]), func() (bool, error) {
			job, err = q.store.Job(ctx, ids[0])
			return job.StartedAt != nil, err
		})
		if err != nil || job.State == jobs.Running && time.Since(*job.StartedAt) < time.Second {
			return job, err
		}
	}
}

// told requires that the API tells of the redelivery: on the job's timeline and in the queue's history.
func (q *dotQueue) told(ctx context.Context, id uuid.UUID, from, to string) error {
	var job jobs.Detail
	if err := q.api(ctx, "jobs/"+id.String(), &job); err != nil {
		return err
	}
	crashed := slices.ContainsFunc(job.Attempts, func(a jobs.Attempt) bool { return a.Outcome == "crashed" && a.Worker == from })
	seen := slices.ContainsFunc(job.Deliveries, func(d jobs.DeliveryRecord) bool {
		return d.Redelivered && d.Worker == to && d.FromWorker != nil && *d.FromWorker == from
	})
	if !crashed || !seen {
		return fmt.Errorf("the timeline of job %s does not tell that it went from %s to %s", id, from, to)
	}
	var history struct{ Items []jobs.Redelivery }
	if err := q.api(ctx, "queues/"+url.PathEscape(q.vhost)+"/warren.jobs.default/redeliveries?limit=200", &history); err != nil {
		return err
	}
	if !slices.ContainsFunc(history.Items, func(r jobs.Redelivery) bool { return r.JobID == id && r.ToWorker == to }) {
		return fmt.Errorf("the redelivery of job %s is not in the history of its queue", id)
	}
	return nil
}

// idle waits until both workers are there and run nothing.
func (q *dotQueue) idle(ctx context.Context) error {
	return until(ctx, "both workers are idle", func() (bool, error) {
		page, err := q.store.Processes(ctx, engine.ProcessFilter{Role: "worker", Alive: true}, jobs.Cursor{}, 100)
		free := 0
		for _, p := range page.Items {
			ours := slices.ContainsFunc(q.workers, func(o *process) bool { return o.name == p.Name })
			if ours && p.Worker != nil && p.Worker.Busy == 0 {
				free++
			}
		}
		return free == len(q.workers), err
	})
}

// run is a run of a job that completed.
type run struct {
	worker            string
	started, finished time.Time
}

// together hands in the texts while the queue is paused, lets them go at once, and returns their runs
// in the order in which they were handed in.
func (q *dotQueue) together(ctx context.Context, texts []string) ([]run, error) {
	if err := q.idle(ctx); err != nil {
		return nil, err
	}
	if _, err := q.warren(ctx, "queues", "pause", "default"); err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, text := range texts {
		added, err := q.enqueue(ctx, text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, added...)
	}
	if _, err := q.warren(ctx, "queues", "resume", "default"); err != nil {
		return nil, err
	}
	runs := make([]run, len(ids))
	for i, id := range ids {
		job, err := q.completed(ctx, id)
		if err != nil {
			return nil, err
		}
		runs[i] = run{*job.Worker, *job.StartedAt, *job.FinishedAt}
	}
	return runs, nil
}

const (
	// fairness is how much longer than the ideal the work may take.
	fairness = 1.15
	// fairTries: another program that takes the processors for a moment can spoil a measurement, and
	// never makes one better.
	fairTries = 3
)

// fair requires that heavy and light jobs in turn are done as fast as if each went to the first
// worker that is free.
func (q *dotQueue) fair(ctx context.Context, n int) error {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = []string{"Heavy...", "Light."}[i%2]
	}
	var took, best time.Duration
	for range fairTries {
		runs, err := q.together(ctx, texts)
		if err != nil {
			return err
		}
		took, best = makespan(runs), ideal(runs, len(q.workers))
		q.log.Info("heavy and light jobs in turn", "took", took.Round(time.Millisecond), "ideal", best.Round(time.Millisecond),
			"ratio", fmt.Sprintf("%.3f", took.Seconds()/best.Seconds()))
		if took.Seconds() <= fairness*best.Seconds() {
			return nil
		}
	}
	return fmt.Errorf("heavy and light jobs in turn took %s, and with each going to the first free worker it would be %s", took, best)
}

// makespan is the time from the first start to the last end.
func makespan(runs []run) time.Duration {
	first, last := runs[0].started, runs[0].finished
	for _, r := range runs {
		if r.started.Before(first) {
			first = r.started
		}
		if r.finished.After(last) {
			last = r.finished
		}
	}
	return last.Sub(first)
}

// ideal is the makespan of the same runs if each went to the first free worker, at once.
func ideal(runs []run, workers int) time.Duration {
	busy := make([]time.Duration, workers)
	for _, r := range runs {
		first := slices.Index(busy, slices.Min(busy))
		busy[first] += r.finished.Sub(r.started)
	}
	return slices.Max(busy)
}

// roundRobin requires that of equal jobs each worker gets its share, give or take a fifth.
func (q *dotQueue) roundRobin(ctx context.Context, n int) error {
	runs, err := q.together(ctx, slices.Repeat([]string{"Equal."}, n))
	if err != nil {
		return err
	}
	share := float64(n) / float64(len(q.workers))
	for _, p := range q.workers {
		got := 0
		for _, r := range runs {
			if r.worker == p.name {
				got++
			}
		}
		q.log.Info("equal jobs", "worker", p.name, "got", got, "of", n)
		if math.Abs(float64(got)-share) > max(1, share/5) {
			return fmt.Errorf("of %d equal jobs %s got %d", n, p.name, got)
		}
	}
	return nil
}

// page requires that the list of workers says of each how many jobs it ran, and that it had time to spare.
func (q *dotQueue) page(ctx context.Context) error {
	var list struct{ Items []engine.Process }
	if err := q.api(ctx, "workers?role=worker", &list); err != nil {
		return err
	}
	for _, p := range q.workers {
		ran, err := q.number(ctx, `SELECT count(*) FROM warren.jobs WHERE worker = $1 AND state = 'completed'
			AND finished_at > clock_timestamp() - interval '9 minutes'`, p.name)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list.Items, func(l engine.Process) bool { return l.Name == p.name })
		if i < 0 || list.Items[i].Worker == nil || list.Items[i].Worker.Load == nil {
			return fmt.Errorf("the list of workers does not say what %s did", p.name)
		}
		load := *list.Items[i].Worker.Load
		q.log.Info("the list of workers", "worker", p.name, "runs", load.Runs, "busy", fmt.Sprintf("%.0f %%", 100*load.BusyShare))
		if load.Runs < int64(ran) || load.BusyShare <= 0 || load.BusyShare >= 1 || load.IdleSince == nil {
			return fmt.Errorf("the list of workers says that %s ran %d jobs, was busy for %.2f of the time and is idle since %v; it ran %d",
				p.name, load.Runs, load.BusyShare, load.IdleSince, ran)
		}
	}
	return nil
}

// queueForgotten is a queue whose consumer forgets to acknowledge.
const queueForgotten = "forgotten"

// forget lets a program without Warren take a job's message, and not acknowledge it.
func (q *dotQueue) forget(ctx context.Context) (*forgetful, error) {
	ids, err := q.enqueue(ctx, "Forgotten.", "--queue", queueForgotten)
	if err != nil {
		return nil, err
	}
	err = until(ctx, "the message is in the broker", func() (bool, error) {
		job, err := q.store.Job(ctx, ids[0])
		return !job.InOutbox, err
	})
	if err != nil {
		return nil, err
	}
	return takeOne(ctx, q.world, "warren.jobs."+queueForgotten)
}

// named requires that the queue's page names the consumer and, if there is time for it, the overview:
// it waits for half a minute before it calls an acknowledgement forgotten.
func (c *forgetful) named(ctx context.Context, long bool) error {
	queue := views.QueueURL(c.world.vhost, c.queue)
	if err := c.world.says(ctx, queue, forgetfulName, "no ack for"); err != nil {
		return err
	}
	if !long {
		return nil
	}
	return c.world.says(ctx, "/", forgetfulName+" does not acknowledge")
}

// count counts the jobs of this kind that completed with all their dots.
func (q *dotQueue) count(ctx context.Context) (count, error) {
	seen, err := q.number(ctx, `SELECT count(DISTINCT id) FROM warren.jobs WHERE kind = 'dots' AND state = 'completed'
		AND (output ->> 'dots')::int = length(regexp_replace(args ->> 'text', '[^.]', '', 'g'))`)
	return count{q.sent, seen}, err
}
