//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/examples"
	"github.com/warrenjobs/warren/jobs"
)

// languages is scenario 2: Python submits jobs that Go works, and Go submits jobs that Python works; and
// messages of programs that know nothing of Warren.
func languages(ctx context.Context, w *world, f form) (count, error) {
	if err := w.programs.hasPython(); err != nil {
		return count{}, err
	}
	l := &polyglot{world: w}
	if err := l.follow(ctx, "docs/recipes/languages.md"); err != nil {
		return count{}, err
	}
	for _, role := range []string{"web", "relay", "scheduler", "monitor", "worker"} {
		if _, err := w.start("warren", role); err != nil {
			return count{}, err
		}
	}
	err := l.work(ctx, f)
	n, counted := l.count(ctx)
	return n, errors.Join(err, counted)
}

// polyglot is a deployment with workers in Go and in Python, and how many jobs were handed in.
type polyglot struct {
	*world
	workers  []*process // in Python
	stranger *stranger
	sent     int
}

// follow runs the commands of the recipe and requires that they did what it says.
func (l *polyglot) follow(ctx context.Context, page string) error {
	out, err := l.recipe(ctx, page)
	if err != nil {
		return err
	}
	for _, text := range []string{"Routed to ", "was returned", "app_id: shop", "headers: {'format': 'pdf'}",
		"negative number in [7, -1]"} {
		if !strings.Contains(out, text) {
			return fmt.Errorf("the commands of %s did not print %q: %s", page, text, out)
		}
	}
	l.sent = len(jobIDs(out)) // message ids of Python's, and ids of Warren's
	return nil
}

func (l *polyglot) work(ctx context.Context, f form) (err error) {
	if l.stranger, err = newStranger(l.world); err != nil {
		return err
	}
	defer l.stranger.close()
	for _, step := range []func(context.Context, form) error{l.goWorks, l.pythonWorks, l.adopted, l.unwanted, l.byHand} {
		if err := step(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// goWorks has Python submit jobs, and Go work them.
func (l *polyglot) goWorks(ctx context.Context, f form) error {
	if err := l.worksDefault(ctx); err != nil {
		return err
	}
	out, err := l.command(ctx, "python3", "examples/python/submit.py", "--count", strconv.Itoa(f.each), "dots", `{"text": "Number {n}."}`)
	if err != nil {
		return err
	}
	if ids := jobIDs(out); len(ids) != f.each {
		return fmt.Errorf("Python submitted %d jobs and not %d", len(ids), f.each)
	}
	l.sent += f.each
	l.log.Info("Python has submitted", "jobs", f.each)
	return l.ended(ctx)
}

// worksDefault waits until the queue of Go's workers is there.
func (l *polyglot) worksDefault(ctx context.Context) error {
	ids, err := l.warren(ctx, "enqueue", "dots", `{"text":"Go to Go."}`)
	if err != nil {
		return err
	}
	l.sent++
	_, err = l.completed(ctx, jobIDs(ids)[0])
	return err
}

// ended waits until every job has.
func (l *polyglot) ended(ctx context.Context) error {
	return until(ctx, "all jobs have ended", func() (bool, error) {
		left, err := l.number(ctx, open)
		return left == 0, err
	})
}

// queueSums is the queue that Python works.
const queueSums = "sums"

// pythonWorks has Go submit jobs, a tenth of which fail, and two processes in Python work them. One of them is killed while it works.
func (l *polyglot) pythonWorks(ctx context.Context, f form) error {
	if _, err := l.warren(ctx, "queues", "external", queueSums); err != nil {
		return err
	}
	for range 2 {
		if err := l.addPython(); err != nil {
			return err
		}
	}
	out, err := l.warren(ctx, "enqueue", "count", `{"to": 20}`, "--queue", queueSums)
	if err != nil {
		return err
	}
	l.sent++
	if err := l.addUp(ctx, f.each-1, f.each/10); err != nil {
		return err
	}
	if err := l.killAt(ctx, jobIDs(out)[0]); err != nil {
		return err
	}
	if err := l.ended(ctx); err != nil {
		return err
	}
	return l.shown(ctx, f.each-f.each/10, f.each/10)
}

func (l *polyglot) addPython() error {
	p, err := l.start("python3", "examples/python/worker.py", queueSums)
	if err == nil {
		l.workers = append(l.workers, p)
	}
	return err
}

// addUp submits n sums in one transaction; bad of them have a negative number, which Python refuses.
func (l *polyglot) addUp(ctx context.Context, n, bad int) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for i := range n {
		last := 1000
		if i < bad {
			last = -1
		}
		if err := examples.AddUp(ctx, tx, queueSums, i, last); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("submit the sums: %w", err)
	}
	l.sent += n
	return nil
}

// killAt kills the worker of a job in the middle, and requires that the other one does the job, and that its timeline tells so.
func (l *polyglot) killAt(ctx context.Context, id uuid.UUID) error {
	var job jobs.Detail
	err := until(ctx, fmt.Sprintf("Python is in the middle of job %s", id), func() (bool, error) {
		var err error
		job, err = l.store.Job(ctx, id)
		if err == nil && job.State.Ended() {
			err = errors.New("it has ended already")
		}
		return job.State == jobs.Running && job.Progress != nil && job.Progress.Done > 0, err
	})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(l.workers, func(p *process) bool { return job.Worker != nil && p.name == *job.Worker })
	if i < 0 {
		return fmt.Errorf("job %s runs on a worker that is not ours", id)
	}
	victim, other := l.workers[i], l.workers[1-i]
	victim.kill()
	l.log.Info("killed a worker in Python", "at", job.Progress.Note)
	if _, err := l.completed(ctx, id); err != nil {
		return err
	}
	if err := l.api(ctx, "jobs/"+id.String(), &job); err != nil {
		return err
	}
	if !slices.ContainsFunc(job.Deliveries, func(d jobs.DeliveryRecord) bool {
		return d.Worker == other.name && d.FromWorker != nil && *d.FromWorker == victim.name
	}) {
		return fmt.Errorf("the timeline of job %s does not tell that it went from %s to %s", id, victim.name, other.name)
	}
	if len(job.Attempts) != 1 {
		return fmt.Errorf("job %s has %d attempts: a worker that dies costs none", id, len(job.Attempts))
	}
	return nil
}

// shown requires that API and dashboard show so many jobs of Python's as completed, and so many as dead with its error.
func (l *polyglot) shown(ctx context.Context, completed, dead int) error {
	for state, want := range map[jobs.State]int{jobs.Completed: completed, jobs.Dead: dead} {
		var list struct{ Items []jobs.Job }
		if err := l.api(ctx, fmt.Sprintf("jobs?queue=%s&state=%s&limit=200", queueSums, state), &list); err != nil {
			return err
		}
		l.log.Info("the API shows", "state", state, "jobs", len(list.Items))
		if len(list.Items) != want {
			return fmt.Errorf("the API shows %d jobs of Python's as %s, not %d", len(list.Items), state, want)
		}
		if state != jobs.Dead {
			continue
		}
		for _, job := range list.Items {
			if err := l.failedInPython(ctx, job.ID); err != nil {
				return err
			}
		}
	}
	return l.says(ctx, "/failures", "sum", "negative number in")
}

func (l *polyglot) failedInPython(ctx context.Context, id uuid.UUID) error {
	var job jobs.Detail
	if err := l.api(ctx, "jobs/"+id.String(), &job); err != nil {
		return err
	}
	if len(job.Attempts) == 1 {
		a := job.Attempts[0]
		if strings.HasPrefix(a.Error, "negative number in [") && a.ErrorClass == "ValueError" && strings.Contains(a.Stack, "Traceback") {
			return nil
		}
	}
	return fmt.Errorf("job %s does not show the error of Python: %+v", id, job.Attempts)
}

// adopted requires that the message of a stranger becomes one job, though it comes twice, and that the job's page has
// every property of it.
func (l *polyglot) adopted(ctx context.Context, _ form) error {
	const text = "From a stranger."
	m := l.stranger.message("stranger-1", fmt.Sprintf(`{"text":%q}`, text))
	for range 2 { // as docs/protocol.md says, declared once more, and sent again as after a lost confirm
		if err := l.stranger.declareDefault(); err != nil {
			return err
		}
		routed, err := l.stranger.publish(ctx, "warren.jobs", "default", m)
		if err != nil {
			return err
		}
		if !routed {
			return errors.New("no queue took the message of the stranger")
		}
	}
	l.sent++
	var page string
	err := until(ctx, "the message was adopted", func() (bool, error) {
		var list struct{ Items []jobs.Job }
		err := l.api(ctx, "jobs?kind=dots&state=completed&limit=200&q="+url.QueryEscape(text), &list)
		if len(list.Items) > 0 && list.Items[0].Origin == "broker" {
			page = "/jobs/" + list.Items[0].ID.String()
		}
		return page != "", err
	})
	if err != nil {
		return err
	}
	l.log.Info("the message of a stranger was adopted", "page", page)
	return l.says(ctx, page, append(asJSON(m, ": "), "came once more")...)
}

// unwanted requires that both a stranger and Python's submit are told that no queue takes their message.
func (l *polyglot) unwanted(ctx context.Context, _ form) error {
	routed, err := l.stranger.publish(ctx, "warren.jobs", "nobodys", l.stranger.message("unwanted", "{}"))
	if err != nil {
		return err
	}
	_, refused := l.command(ctx, "python3", "examples/python/submit.py", "--queue", "nobodys", "dots")
	if routed || refused == nil || !strings.Contains(refused.Error(), "no queue takes jobs for nobodys") {
		return fmt.Errorf("the senders of unwanted messages are not told: %t, %w", routed, refused)
	}
	return nil
}

// byHand publishes on the page to the fanout exchange of a consumer in Python, and to nobody, and requires that the answers,
// the tails and the consumer tell of it.
func (l *polyglot) byHand(ctx context.Context, _ form) error {
	consumer, err := l.start("python3", "examples/python/consume.py", "2")
	if err != nil {
		return err
	}
	if err := l.wrote(ctx, consumer, "waiting for messages"); err != nil {
		return err
	}
	if err := l.stranger.listen("copy"); err != nil {
		return err
	}
	first, second := l.stranger.message("by-hand-1", "to both"), l.stranger.message("by-hand-2", "to both and the tails")
	if err := l.publish(ctx, asForm(first, exchangeTest, ""), "Routed to 2 queues: copy, example."); err != nil {
		return err
	}
	if err := l.publish(ctx, asForm(first, "amq.topic", "nobody"), "No queue took it: it was returned."); err != nil {
		return err
	}

	tail, err := l.start("warren", "tail", exchangeTest, "--count", "1", "--json")
	if err != nil {
		return err
	}
	if err := l.wrote(ctx, tail, "tailing "+exchangeTest); err != nil {
		return err
	}
	page := "/tail?exchange=" + exchangeTest + "&pattern="
	if err := l.says(ctx, page, "No messages yet"); err != nil {
		return err
	}
	if err := l.publish(ctx, asForm(second, exchangeTest, ""), "Routed to "); err != nil {
		return err
	}
	if err := l.tailed(ctx, page, second); err != nil {
		return err
	}
	if err := l.wrote(ctx, tail, asJSON(second, ":")...); err != nil {
		return err
	}
	return l.wrote(ctx, consumer, slices.Concat(asPython(first), asPython(second))...)
}

var opens = regexp.MustCompile(`[?&]open=(\d+)`)

// tailed requires that the page of a tail has the message, and shows every property of it when it is opened.
func (l *polyglot) tailed(ctx context.Context, page string, m amqp.Publishing) error {
	var whole string
	err := until(ctx, page+" has the message", func() (bool, error) {
		body, err := l.get(ctx, page)
		if link := opens.FindStringSubmatch(readable(body)); link != nil {
			whole = page + "&open=" + link[1]
		}
		return whole != "", err
	})
	if err != nil {
		return err
	}
	return l.says(ctx, whole, asTail(m)...)
}

var answered = regexp.MustCompile(`(Routed to|No queue) [^<]*`)

// publish sends the form of the page Publish and requires its answer.
func (l *polyglot) publish(ctx context.Context, form url.Values, answer string) error {
	page, err := l.post(ctx, "/publish", form)
	if err != nil {
		return err
	}
	said := answered.FindString(readable(page))
	l.log.Info("published by hand", "exchange", form.Get("exchange"), "answer", said)
	if !strings.HasPrefix(said, answer) {
		return fmt.Errorf("publishing to %q says %q and not %q", form.Get("exchange"), said, answer)
	}
	return nil
}

// count counts the jobs that had the effect that their args ask for: an output, or an error of Python's.
func (l *polyglot) count(ctx context.Context) (count, error) {
	n := count{sent: l.sent}
	all, err := l.number(ctx, `SELECT count(*) FROM warren.jobs`)
	if err != nil {
		return n, err
	}
	if n.seen, err = l.number(ctx, effects); err == nil && all != n.sent {
		err = fmt.Errorf("%d jobs of %d that were sent", all, n.sent)
	}
	return n, err
}

const effects = `SELECT count(DISTINCT (kind, queue, args::text)) FROM warren.jobs j WHERE
	kind = 'dots' AND state = 'completed' AND (output ->> 'dots')::int = length(regexp_replace(args ->> 'text', '[^.]', '', 'g')) OR
	kind = 'count' AND state = 'completed' AND output ->> 'counted' = args ->> 'to' OR
	kind = 'sum' AND state = 'completed' AND (output ->> 'sum')::int =
		(SELECT sum(number::int) FROM json_array_elements_text(args -> 'numbers') number) OR
	kind = 'sum' AND state = 'dead' AND last_error = 'negative number in ' ||
		regexp_replace(args ->> 'numbers', ', *', ', ', 'g')`
