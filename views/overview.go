package views

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

var nan = math.NaN()

// OverviewModel answers: is everything all right?
type OverviewModel struct {
	Good      bool
	Verdict   string   // one line in words
	Notes     []string // what else to know, each a sentence
	Command   string   // for an administrator to run, if that helps
	Tiles     []ui.StatProps
	Charts    []ui.ChartProps
	Attention []QueueRow
	Cols      []ui.Col
	Failures  []FailureRow
	Recent    []JobRow
}

// OverviewSpan is the time that the charts of the overview show.
const OverviewSpan = 15 * time.Minute

// OverviewFacts is the data of the overview.
type OverviewFacts struct {
	Now       time.Time
	Counts    map[jobs.State]jobs.Count
	Waiting   int
	Lag       time.Duration
	Failing   int
	LastError string
	Paused    []engine.PausedQueue
	Unknown   []engine.UnknownKind // kinds that no worker of their queue handles, whose jobs wait
	Drift     engine.DriftStats
	Forgotten []monitor.Channel // of other programs, that hold messages and acknowledge nothing
	// Transactions that have been open for long, the oldest first.
	Transactions []engine.OpenTransaction
	Workers      int
	Slots        int
	Pills        []Pill
	Policy       string // why the policy of the job queues is not in effect; "" if it is
	Command      string // that would fix it
	Total        monitor.Series
	Activity     []monitor.Moment
	Queues       []monitor.Queue
	Sparks       [][]*int64 // of the queues
	DeadQueue    string
	Failures     []jobs.FailureGroup
	Recent       []jobs.Job
}

// NewOverviewModel shapes the overview.
func NewOverviewModel(f OverviewFacts) OverviewModel {
	m := OverviewModel{Charts: overviewCharts(f), Tiles: overviewTiles(f), Cols: QueueCols("", false)}
	for i, q := range f.Queues {
		if row := NewQueueRow(q, f.Sparks[i], "/"); len(row.Badges) > 0 {
			m.Attention = append(m.Attention, row)
		}
	}
	for _, g := range f.Failures {
		m.Failures = append(m.Failures, NewFailureRow(g))
	}
	for _, j := range f.Recent {
		m.Recent = append(m.Recent, NewJobRow(j))
	}
	problems := problems(f, len(m.Attention))
	m.Good, m.Verdict = len(problems) == 0, "All systems normal."
	if len(problems) > 0 {
		m.Verdict = strings.ToUpper(problems[0][:1]) + problems[0][1:] + "."
		if len(problems) > 1 {
			m.Verdict = strings.ToUpper(problems[0][:1]) + strings.Join(problems, ", ")[1:] + "."
		}
	}
	for _, p := range f.Pills {
		if p.Why != "" {
			m.Notes = append(m.Notes, p.Name+": "+oneLine(p.Why))
		}
	}
	if f.LastError != "" {
		m.Notes = append(m.Notes, "The outbox says: "+oneLine(f.LastError))
	}
	for _, p := range f.Paused {
		m.Notes = append(m.Notes, pausedSentence(p, f.Now))
	}
	if len(f.Forgotten) > 0 {
		m.Notes = append(m.Notes, forgottenSentence(f.Forgotten, f.Now))
	}
	if len(f.Transactions) > 0 {
		m.Notes = append(m.Notes, transactionSentence(f.Transactions[0], f.Now))
	}
	if s := driftSentence(f.Drift); s != "" {
		m.Notes = append(m.Notes, s)
	}
	if f.Policy != "" { // last, as its command is shown below
		m.Notes = append(m.Notes, f.Policy+" Jobs run all the same, without this net under poison messages. Have an administrator run:")
		m.Command = f.Command
	}
	return m
}

// forgottenSentence names the channel that has acknowledged nothing for longest.
func forgottenSentence(list []monitor.Channel, now time.Time) string {
	c := list[0]
	s := cmp.Or(c.Client, c.Channel) + " holds " + plural(int(*c.Unacked), "message", "messages")
	if c.Queue != "" {
		s += " of the queue " + c.Queue
	}
	s += " and has acknowledged none for " + ui.Duration(now.Sub(*c.HoldingSince))
	if c.Full() {
		s += ". That is its whole prefetch: it gets nothing more until it acknowledges"
	}
	if more := len(list) - 1; more > 0 {
		s += ". The same is true of " + plural(more, "other channel", "other channels")
	}
	return s + "."
}

// driftSentence describes where database and broker disagree, "" for nowhere.
func driftSentence(d engine.DriftStats) string {
	var list []string
	if d.Repaired > 0 {
		list = append(list, ui.Capped(int64(d.Repaired), jobs.CountCap)+" "+word(int(d.Repaired), "job", "jobs")+
			" dispatched again in the last hour, as the broker or a worker had lost them")
	}
	if d.Suspects > 0 {
		list = append(list, ui.Capped(int64(d.Suspects), jobs.CountCap)+" more "+word(int(d.Suspects), "looks", "look")+" lost now and "+
			word(int(d.Suspects), "is", "are")+" watched")
	}
	if len(list) == 0 {
		return ""
	}
	return "Drift: " + strings.Join(list, "; ") + "."
}

// problems are the parts of the verdict, worst first.
func problems(f OverviewFacts, attention int) []string {
	var list []string
	for _, p := range f.Pills {
		if p.State == Down {
			s := "the " + strings.ToLower(p.Name) + " is down"
			switch {
			case p.Name == "Workers" && p.Why != "":
				s = "the workers " + p.Note
			case p.Name == "Workers":
				s = "no worker runs"
			case p.Note != "":
				s += " (" + p.Note + ")"
			}
			list = append(list, s)
		}
	}
	if attention > 0 {
		list = append(list, plural(attention, "queue needs attention", "queues need attention"))
	}
	if n := len(f.Forgotten); n > 0 {
		list = append(list, plural(n, "consumer acknowledges", "consumers acknowledge")+" nothing")
	}
	if f.Lag > 10*time.Second {
		list = append(list, "the outbox is "+ui.Duration(f.Lag)+" behind")
	}
	if f.Failing > 0 {
		list = append(list, plural(f.Failing, "message in the outbox fails", "messages in the outbox fail"))
	}
	for _, u := range f.Unknown {
		list = append(list, "no worker of the queue "+u.Queue+" knows the kind "+u.Kind+", and its jobs wait")
	}
	if f.Policy != "" {
		list = append(list, "the policy of the job queues is not in effect")
	}
	if n := f.Counts[jobs.Dead]; n > 0 {
		list = append(list, ui.Capped(int64(n), jobs.CountCap)+" dead "+word(int(n), "job needs", "jobs need")+" attention")
	}
	return list
}

func plural(n int, one, many string) string { return ui.Number(int64(n)) + " " + word(n, one, many) }

func word(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func overviewTiles(f OverviewFacts) []ui.StatProps {
	perSecond := func(n func(monitor.Moment) int64, scale float64) []float64 {
		return lastMinute(moments(f.Activity, func(m monitor.Moment) float64 { return float64(n(m)) / max(m.Seconds, 1) * scale }))
	}
	completed := perSecond(func(m monitor.Moment) int64 { return m.Completed }, 1)
	failed := perSecond(func(m monitor.Moment) int64 { return m.Failed }, 60)
	redelivered := perSecond(func(m monitor.Moment) int64 { return m.Redelivered }, 60)
	lag := moments(f.Activity, func(m monitor.Moment) float64 { return m.OutboxAge })
	oldest := moments(f.Activity, func(m monitor.Moment) float64 { return m.OldestQueued })
	tile := func(s ui.StatProps, values []float64, format func(float64) string) ui.StatProps {
		s.Value, s.Spark = ui.Unknown, values
		if n := len(values); n > 0 {
			s.Value = format(values[n-1])
		}
		return s
	}
	seconds := func(v float64) string { return ui.Duration(time.Duration(v * float64(time.Second))) }
	return []ui.StatProps{
		tile(ui.StatProps{Label: "Completed", Unit: "/s", Hint: ui.Capped(int64(f.Counts[jobs.Completed]), jobs.CountCap) + " kept",
			State: "completed", Href: "/jobs?state=completed"}, completed, ui.Rate),
		tile(ui.StatProps{Label: "Ready", Hint: ui.Capped(int64(f.Counts[jobs.Queued]), jobs.CountCap) + " " +
			word(int(f.Counts[jobs.Queued]), "queued job", "queued jobs"), State: "queued", Href: "/jobs?state=queued"},
			floats(f.Total.Ready), whole),
		tile(ui.StatProps{Label: "Unacked", Hint: ui.Capped(int64(f.Counts[jobs.Running]), jobs.CountCap) + " " +
			word(int(f.Counts[jobs.Running]), "running job", "running jobs"), State: "running", Href: "/jobs?state=running"},
			floats(f.Total.Unacked), whole),
		tile(ui.StatProps{Label: "Redelivered", Unit: "/min", Hint: redeliveredSum(f.Total), State: "retrying", Href: "/queues"},
			redelivered, ui.Rate),
		tile(ui.StatProps{Label: "Failed", Unit: "/min", Hint: ui.Capped(int64(f.Counts[jobs.Dead]), jobs.CountCap) + " dead",
			Tone: tone(f.Counts[jobs.Dead] > 0), State: "dead", Href: "/failures"}, failed, ui.Rate),
		tile(ui.StatProps{Label: "Outbox lag", Hint: ui.Capped(int64(f.Waiting), jobs.CountCap) + " " + word(f.Waiting, "row waits",
			"rows wait"), Href: "/outbox"}, lag, seconds),
		tile(ui.StatProps{Label: "Oldest waiting job", Hint: plural(f.Workers, "worker", "workers") + ", " + plural(f.Slots, "slot",
			"slots"), Href: "/workers"}, oldest, seconds),
	}
}

func redeliveredSum(s monitor.Series) string {
	for i := len(s.Redelivered) - 1; i >= 0; i-- {
		if v := s.Redelivered[i]; v != nil {
			return ui.Number(*v) + " counted"
		}
	}
	return "not counted yet"
}

func tone(bad bool) string {
	if bad {
		return "bad"
	}
	return ""
}

// whole formats a depth; the newest point may be a gap.
func whole(v float64) string {
	if math.IsNaN(v) {
		return ui.Unknown
	}
	return ui.Number(int64(v))
}

func moments(list []monitor.Moment, value func(monitor.Moment) float64) []float64 {
	out := make([]float64, len(list))
	for i, m := range list {
		out[i] = value(m)
	}
	return out
}

// lastMinute returns the mean of each value and the five before it: a rate per minute taken from
// ten seconds would jump about.
func lastMinute(values []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		from := max(0, i-5)
		sum := 0.0
		for _, v := range values[from : i+1] {
			sum += v
		}
		out[i] = sum / float64(i+1-from)
	}
	return out
}

// overviewCharts are throughput and depth of the last 15 minutes.
func overviewCharts(f OverviewFacts) []ui.ChartProps {
	at := []int64{f.Now.Add(-OverviewSpan).Unix()} // both charts begin there, with a gap where there are no counts
	for _, m := range f.Activity {
		at = append(at, m.At.Unix())
	}
	rate := func(n func(monitor.Moment) int64) []float64 {
		return append([]float64{nan}, moments(f.Activity, func(m monitor.Moment) float64 { return float64(n(m)) / max(m.Seconds, 1) })...)
	}
	return []ui.ChartProps{
		{ID: "chart-throughput", Title: "Throughput", Note: "jobs per second, last 15 min", Format: "rate",
			Src: "/overview/samples.json?chart=throughput", Topic: engine.TopicQueues,
			Data: ui.ChartData{X: at, Series: []ui.ChartSeries{
				{Label: "Completed", State: "completed", Y: rate(func(m monitor.Moment) int64 { return m.Completed })},
				{Label: "Failed", State: "dead", Y: rate(func(m monitor.Moment) int64 { return m.Failed })}}}},
		{ID: "chart-depth", Title: "Depth", Note: "messages in job queues, last 15 min", Src: "/overview/samples.json?chart=depth",
			Topic: engine.TopicQueues,
			Data: ui.ChartData{X: f.Total.At, Series: []ui.ChartSeries{
				{Label: "Ready", State: "queued", Y: floats(f.Total.Ready)}, {Label: "Unacked", State: "running",
					Y: floats(f.Total.Unacked)}}}},
	}
}
