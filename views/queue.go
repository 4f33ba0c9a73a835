package views

import (
	"cmp"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

// QueueModel is the page of one queue.
type QueueModel struct {
	URL          string // with the window
	Base         string // without
	Row          QueueRow
	Queue        monitor.Queue
	Gone         bool // the last poll did not see it; its history is still here
	Dead         bool // it is the dead-letter queue
	JobQueue     string
	Jobs         map[jobs.State]jobs.Count // in the database; nil when it is not a job queue, or counting took too long
	Around       jobs.Around               // of a job queue
	Window       Window
	Series       monitor.Series
	Marks        []monitor.Mark
	Channels     []monitor.Channel
	Redelivered  jobs.Count // in the last hour, as the workers of a job queue saw it
	Redeliveries []jobs.Redelivery
	Pager        ui.PagerProps // of the redeliveries
	Now          time.Time
	Drift        engine.DriftStats
	Purge        *engine.Purge // the last one, while jobs that it cancelled are left
	PurgeLeft    jobs.Count
}

// Lead says what the queue is.
func (m QueueModel) Lead() string {
	var parts []string
	if m.Queue.VHost != "/" {
		parts = append(parts, "virtual host "+m.Queue.VHost)
	}
	if shape := queueShape(m.Queue); shape != "" {
		parts = append(parts, strings.Replace(shape, m.Queue.Type, m.Queue.Type+" queue", 1))
	}
	return title(cmp.Or(strings.Join(parts, " · "), "queue"))
}

func (m QueueModel) paused() bool { return m.Around.PausedAt != nil }

// unworked reports that no worker consumes a job queue.
func (m QueueModel) unworked() bool { return m.JobQueue != "" && m.Around.Unworked() }

// command starts a worker for a queue that has none.
func (m QueueModel) command() string {
	if !m.unworked() {
		return ""
	}
	return "warren worker --queue " + m.JobQueue
}

// look is the state whose colour the sentence has, and its icon: green only where jobs get done and none of them is dead.
func (m QueueModel) look() (state, icon string) {
	switch {
	case len(m.Row.Badges) > 0:
		return m.Row.Badges[0].State, "alert"
	case m.Gone, m.paused(), m.unworked() && m.Jobs[jobs.Queued] > 0:
		return string(jobs.Retrying), "alert"
	case m.Jobs[jobs.Dead] > 0:
		return string(jobs.Cancelled), "info"
	}
	return string(jobs.Completed), "check"
}

// deadText counts the queue's dead jobs; "" if it has none.
func (m QueueModel) deadText() string {
	n := m.Jobs[jobs.Dead]
	if n == 0 {
		return ""
	}
	return ui.Capped(int64(n), jobs.CountCap) + " " + word(int(n), "job is", "jobs are") + " dead"
}

// redeliveredText says that messages came more than once; "" if none did in the last hour.
func (m QueueModel) redeliveredText() string {
	n := m.Redelivered
	if n == 0 {
		return ""
	}
	return ui.Capped(int64(n), jobs.CountCap) + " " + word(int(n), "redelivery", "redeliveries") + " in the last hour"
}

func (m QueueModel) failuresURL() string {
	return failuresURL(jobs.FailureFilter{Queue: m.JobQueue}, jobs.Cursor{})
}

// unsaid are the badges that say what the sentence does not.
func (m QueueModel) unsaid() (list []QueueBadge) {
	for _, t := range m.Queue.Signs() {
		if t == monitor.GrowingQueue && !m.outdated() || t == monitor.StuckUnacked || t == monitor.BrokenQueue && m.paused() {
			list = append(list, queueBadge(t, m.Queue))
		}
	}
	return list
}

// Sentence says whether the queue's jobs get done.
func (m QueueModel) Sentence() explain.Sentence {
	q := m.Queue
	f := explain.QueueFacts{Gone: m.Gone, Dead: m.Dead, Fresh: m.Now.Sub(q.SampledAt) <= monitor.GapAfter && !m.outdated(), Ready: q.Ready,
		Consumers: q.Consumers, In: q.Rates.Publish, Out: q.Rates.Deliver, Growing: q.Trend == monitor.Growing,
		Own: m.JobQueue != "", Oldest: q.OldestAt, Around: m.Around}
	if q.Trouble == monitor.BrokenQueue {
		f.State = q.State
	}
	if m.Jobs != nil {
		f.Waiting = new(m.Jobs[jobs.Queued])
	}
	return explain.OfQueue(f)
}

func (m QueueModel) href(p explain.Part) string {
	switch p.Name {
	case explain.QueuedJobs:
		return m.jobsURL(jobs.Queued)
	case explain.Workers:
		return workersURL("worker", jobs.Cursor{})
	}
	return ""
}

// jobsURL lists the queue's jobs in a state, "" for a queue of others.
func (m QueueModel) jobsURL(state jobs.State) string {
	if m.JobQueue == "" {
		return ""
	}
	return jobsURL(jobs.Filter{Queue: m.JobQueue, State: state}, jobs.Cursor{})
}

// Tiles are the queue's numbers, each a link to what it counts.
func (m QueueModel) Tiles() []ui.StatProps {
	tiles := []ui.StatProps{
		{Label: "Ready", Value: m.Row.Ready, Hint: m.readyHint(), Href: m.jobsURL(jobs.Queued)},
		{Label: "Unacked", Value: m.Row.Unacked, Hint: m.jobsHint(jobs.Running, "at consumers"), Href: m.jobsURL(jobs.Running)},
		m.redeliveredTile(),
		{Label: "Consumers", Value: m.Row.Consumers, Hint: "in the broker"},
		{Label: "In", Value: m.Row.In, Unit: "/s", Hint: "published"},
		{Label: "Out", Value: m.Row.Out, Unit: "/s", Hint: "delivered"},
	}
	if m.JobQueue == "" {
		return tiles
	}
	if a := m.Around; a.Known {
		tiles[3].Hint, tiles[3].Href = plural(a.Workers-a.Silent, "worker", "workers"), workersURL("worker", jobs.Cursor{})
		if a.External && a.Workers == 0 {
			tiles[3].Hint, tiles[3].Href = "of other programs", ""
		}
		if a.Slots > 0 {
			tiles[3].Hint += ", " + ui.Number(int64(a.Busy)) + "/" + ui.Number(int64(a.Slots)) + " busy"
		}
	}
	dead := ui.StatProps{Label: "Dead jobs", Value: ui.Unknown, Hint: "in the database",
		Href: m.failuresURL()}
	if m.Jobs != nil {
		dead.Value = ui.Capped(int64(m.Jobs[jobs.Dead]), jobs.CountCap)
		if m.Jobs[jobs.Dead] == 0 {
			dead.Hint = "none"
		}
	}
	return append(tiles, dead)
}

// redeliveredTile counts what the workers of a job queue recorded, as the list below it does; of other queues the broker tells.
func (m QueueModel) redeliveredTile() ui.StatProps {
	if m.JobQueue != "" {
		return ui.StatProps{Label: "Redelivered", Value: ui.Capped(int64(m.Redelivered), jobs.CountCap), Hint: "in the last hour",
			Href: m.Base + "#queue-redeliveries"}
	}
	tile := ui.StatProps{Label: "Redelivered", Value: m.Row.PerMinute, Unit: "/min", Hint: "not counted yet"}
	if q := m.Queue; q.CounterSince != nil && (q.Redelivered != nil || q.Rates.Redeliver != nil) {
		tile.Hint, tile.Since = "none since", q.CounterSince
		if q.Redelivered != nil && *q.Redelivered > 0 {
			tile.Hint = ui.Number(*q.Redelivered) + " since"
		}
	}
	return tile
}

// outdated reports that the broker's figures are of before a purge.
func (m QueueModel) outdated() bool { return m.Purge != nil && m.Purge.At.After(m.Queue.SampledAt) }

func (m QueueModel) readyHint() string {
	if m.outdated() {
		return "counted before the purge"
	}
	return m.jobsHint(jobs.Queued, "in the broker")
}

// jobsHint is the database's number of jobs in a state, beside the broker's number of messages.
func (m QueueModel) jobsHint(state jobs.State, otherwise string) string {
	if m.Jobs == nil {
		return otherwise
	}
	n := m.Jobs[state]
	return "database: " + ui.Capped(int64(n), jobs.CountCap) + " " + string(state)
}

// redeliveryText says where a redelivery came from and went to.
func redeliveryText(r jobs.Redelivery) string {
	from := "unknown"
	if r.FromWorker != nil {
		from = *r.FromWorker
	}
	s := from + " → " + r.ToWorker
	if r.Dispatch > 1 {
		s += ", dispatch " + ui.Number(int64(r.Dispatch))
	}
	if r.DeliveryCount > 1 {
		s += ", requeued " + ui.Number(int64(r.DeliveryCount)) + " times"
	}
	return s
}

// outcomeTitle explains an outcome whose word does not; "" for the others.
func outcomeTitle(outcome string) string {
	if outcome == "stale" {
		return "The job had ended, or had been sent again: the delivery was only acknowledged"
	}
	return ""
}

// outcomeState returns the state whose colour and shape the outcome of a delivery has.
func outcomeState(outcome string) string {
	if state, err := jobs.ParseState(outcome); err == nil {
		return string(state)
	}
	return attemptState(outcome)
}

// purgeConsequence describes what a purge would do.
func (m QueueModel) purgeConsequence() string {
	queued := "the queued jobs"
	if m.Jobs != nil {
		queued = ui.Capped(int64(m.Jobs[jobs.Queued]), jobs.CountCap) + " queued " + word(int(m.Jobs[jobs.Queued]), "job", "jobs")
	}
	messages := "the messages that are ready"
	if m.Queue.Ready != nil && !m.outdated() {
		messages = "about " + plural(int(*m.Queue.Ready), "message", "messages")
	}
	return "Drops " + messages + " and cancels " + queued + ". You can retry them afterwards. Running jobs continue."
}

// Purged describes what a purge did.
func Purged(p engine.Purge) string {
	return plural(p.Cancelled, "job was", "jobs were") + " cancelled and " + plural(p.Messages, "message", "messages") + " dropped."
}

func (m QueueModel) undoLabel() string {
	return "Retry " + ui.Capped(int64(m.PurgeLeft), jobs.CountCap) + " purged " + word(int(m.PurgeLeft), "job", "jobs")
}

// worker returns the page of the process that a channel belongs to; "" if it is none of the deployment's.
func (m QueueModel) worker(c monitor.Channel) string {
	name, ours := strings.CutSuffix(c.Client, " worker")
	if !ours || m.JobQueue == "" {
		return ""
	}
	return workerURL(name)
}

func prefetchText(c monitor.Channel) string {
	switch {
	case c.Prefetch == nil:
		return ui.Unknown
	case *c.Prefetch == 0:
		return "no limit"
	}
	return ui.Number(*c.Prefetch)
}

// holds reports whether a channel has acknowledged nothing for long enough to be shown.
func holds(c monitor.Channel, now time.Time) bool {
	return c.HoldingSince != nil && now.Sub(*c.HoldingSince) > 10*time.Second
}

// WithRedeliveries adds a page of the redeliveries.
func (m QueueModel) WithRedeliveries(page jobs.Page[jobs.Redelivery], c jobs.Cursor) QueueModel {
	url := func(c jobs.Cursor) string {
		q := m.Window.Values()
		if cursor := c.String(); cursor != "" {
			q.Set("cursor", cursor)
		}
		return m.Base + "?" + q.Encode()
	}
	m.Redeliveries, m.URL, m.Pager = page.Items, url(c), pagerOf(page, c, url)
	m.Pager.Info = shown(len(page.Items), "newest first")
	return m
}
