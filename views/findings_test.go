package views_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views"
)

var night = time.Date(2026, 11, 30, 3, 12, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return night.Add(-d) }

func num(n int64) *int64 { return &n }

// line writes a finding as one line: [severity] text {page} $ command, and its effects below.
func line(f views.Finding) string {
	s := []string{"broken", "warning", "notice"}[f.Severity] + ": " + f.Title + f.Detail.In(night)
	if f.Href != "" {
		s += " {" + f.Href + "}"
	}
	if f.Command != "" {
		s += " $ " + f.Command
	}
	if f.Resume != "" {
		s += " [Resume]"
	}
	for _, e := range f.Effects {
		s += "\n  " + e.In(night)
	}
	return s
}

// queue is a job queue, or if its name has no prefix a queue of other programs.
func queue(name string, ready, consumers int64, trouble monitor.Trouble) monitor.Queue {
	q := monitor.Queue{VHost: "v", Name: name, Ready: num(ready), Consumers: num(consumers), Condition: monitor.Condition{Trouble: trouble}}
	if own, ok := strings.CutPrefix(name, "jobs."); ok {
		q.JobQueue = &own
	}
	return q
}

func TestFindings_SayWhatIsWrongWorstFirstAndWhatHelps(t *testing.T) {
	t.Parallel()
	type facts = *views.FindingFacts
	const refused = "can't reach RabbitMQ at 127.0.0.1:5672 (connection refused)"
	const down = "broken: The broker is down (since 03:02:00 UTC). Can't reach RabbitMQ at 127.0.0.1:5672 (connection refused)."
	brokerDown := func(f facts) { f.Broker = &views.Outage{Since: ago(10 * time.Minute), Why: refused} }
	archive := func(f facts) {
		q, since := queue("jobs.archive", 531, 0, monitor.NoConsumers), ago(62*time.Minute)
		q.OldestAt = &since
		f.Queues, f.Oldest = append(f.Queues, q), map[string]time.Time{"archive": since}
	}
	paused := func(f facts) {
		f.Paused = []engine.PausedQueue{{Queue: "stock", Since: ago(18 * time.Second), By: "api", Waiting: 2}}
	}
	holds := func(client, queue string, prefetch, unacked int64) monitor.Channel {
		since := ago(15 * time.Minute)
		return monitor.Channel{VHost: "v", Queue: queue, Channel: "10.0.0.1:5 -> 10.0.0.2:5672 (1)", Client: client,
			Prefetch: &prefetch, Unacked: &unacked, HoldingSince: &since}
	}
	for name, c := range map[string]struct {
		facts []func(facts)
		want  string
	}{
		"nothing": {},
		"a broker that is down explains what comes of it, with one error": {[]func(facts){brokerDown, archive, func(f facts) {
			f.Relay = &views.Outage{Since: ago(9 * time.Minute), Why: refused}
			f.Consume = f.Relay
			f.Lag, f.Failing, f.LastError = 46*time.Second, 4, refused
		}}, down + `
  The figures of queues are from before that.
  The relay cannot send (since 03:03:00 UTC).
  Workers cannot take jobs (since 03:03:00 UTC).
  The outbox is 46 s behind.
  4 outbox messages are failing.`},
		"an error of another cause stands beside it": {[]func(facts){brokerDown, func(f facts) {
			f.Failing, f.LastError = 1, engine.OutboxRefused+": negative confirm"
		}}, down + `
broken: 1 outbox message is failing. The broker rejected the oldest (nack): its queue may be full. {/outbox?show=failing}`},
		"the same error of two parts is one problem": {[]func(facts){func(f facts) {
			f.Relay = &views.Outage{Since: ago(time.Minute), Why: "no such user"}
			f.Consume = f.Relay
		}}, `broken: The relay cannot send (since 03:11:00 UTC). No such user. {/outbox}
  Workers cannot take jobs (since 03:11:00 UTC).`},
		"nobody watches the broker": {[]func(facts){archive, func(f facts) {
			f.Broker, f.Lag = &views.Outage{Since: ago(time.Minute)}, time.Minute
		}}, `broken: No monitor is running: nobody has looked at the broker since 03:11:00 UTC. $ warren monitor
broken: The outbox is 1 m behind. {/outbox}`},
		"no relay": {[]func(facts){func(f facts) { f.Relay, f.Lag = &views.Outage{Since: ago(time.Minute)}, time.Minute }},
			"broken: No relay is running: nothing has been sent since 03:11:00 UTC. {/outbox} $ warren relay\n  The outbox is 1 m behind."},
		"no workers": {[]func(facts){archive, func(f facts) { f.Workers = 0 }},
			`broken: No worker is running. {/workers} $ warren worker --queue archive
  archive has no consumers: 531 messages waiting, oldest 1 h 2 m.`},
		"a queue without consumers": {[]func(facts){archive, func(f facts) {
			f.Queues = append(f.Queues, queue("orders", 1, 0, monitor.NoConsumers))
		}},
			`broken: archive has no consumers: 531 messages waiting, oldest 1 h 2 m. {/queues/v/jobs.archive} ` +
				`$ warren worker --queue archive
broken: orders has no consumers: 1 message waiting. {/queues/v/orders}`},
		"many queues without consumers": {[]func(facts){func(f facts) {
			for _, q := range strings.Fields("a b c d e f g") {
				f.Queues = append(f.Queues, queue(q, 1, 0, monitor.NoConsumers))
			}
		}}, `broken: a has no consumers: 1 message waiting. {/queues/v/a}
broken: b has no consumers: 1 message waiting. {/queues/v/b}
broken: c has no consumers: 1 message waiting. {/queues/v/c}
broken: d has no consumers: 1 message waiting. {/queues/v/d}
broken: e has no consumers: 1 message waiting. {/queues/v/e}
broken: 2 more queues have no consumers. {/queues}`},
		"a paused queue is not a problem, with or without consumers": {[]func(facts){paused, func(f facts) {
			f.Queues = []monitor.Queue{queue("jobs.stock", 7, 0, monitor.NoConsumers)}
			f.Queues[0].PausedAt = &f.Paused[0].Since
		}}, "warning: stock is paused. Paused via the API 18 s ago: 2 jobs waiting in the outbox. {/queues/v/jobs.stock} [Resume]"},
		"the worst is first": {[]func(facts){paused, func(f facts) { f.Dead.Open, f.Drift.Repaired = 412, 1 }},
			`broken: 412 jobs died in the last 24 h. {/failures}
warning: stock is paused. Paused via the API 18 s ago: 2 jobs waiting in the outbox. {/queues/v/jobs.stock} [Resume]
notice: 1 job was re-sent in the last hour after the broker or a worker lost it.`},
		"an unavailable queue, and dead letters": {[]func(facts){func(f facts) {
			f.Queues = []monitor.Queue{queue("jobs.x", 0, 1, monitor.BrokenQueue), queue("dead", 3, 0, monitor.DeadLetters)}
			f.Queues[0].State = "minority"
		}}, `broken: x is unavailable: the broker calls it minority. {/queues/v/jobs.x}
broken: 3 dead letters waiting in dead: no scheduler is running, which would handle them. {/queues/v/dead} $ warren scheduler`},
		"schedules": {[]func(facts){func(f facts) {
			since := ago(18 * time.Second)
			f.Schedules = []schedule.Schedule{{Input: schedule.Input{Name: "a"}, Problem: "its zone is gone"},
				{Input: schedule.Input{Name: "b"}, PausedAt: &since, PausedBy: "ada", PausedReason: "moving house"}}
		}}, `broken: Schedule “a” cannot fire. Its zone is gone. {/schedules/00000000-0000-0000-0000-000000000000}
warning: Schedule “b” is paused. Paused by ada 18 s ago: “moving house”. {/schedules/00000000-0000-0000-0000-000000000000}`},
		"a growing queue is worked": {[]func(facts){func(f facts) {
			f.Queues = []monitor.Queue{queue("jobs.x", 120, 1, monitor.GrowingQueue), queue("jobs.y", 0, 1, monitor.NoTrouble)}
		}}, "warning: x is growing: 120 messages waiting. {/queues/v/jobs.x}"},
		"a kind that nobody handles": {[]func(facts){func(f facts) {
			f.Unknown = []engine.UnknownKind{{Kind: "mail", Queue: "default", Since: ago(time.Minute)}}
		}}, "broken: No worker of default handles mail: its jobs have waited since 03:11:00 UTC for a worker that has the handler. " +
			"{/jobs?kind=mail&queue=default&state=queued}"},
		"a forgotten acknowledgement": {[]func(facts){func(f facts) {
			f.Forgotten = []monitor.Channel{holds("shop", "orders", 5, 5), holds("", "", 0, 1)}
		}}, `broken: shop does not acknowledge: it has held 5 messages of orders for 15 m, its whole prefetch, ` +
			`and receives nothing until it acknowledges. {/queues/v/orders}
broken: 10.0.0.1:5 -> 10.0.0.2:5672 (1) does not acknowledge: it has held 1 message for 15 m.`},
		"an open transaction": {[]func(facts){func(f facts) {
			f.Transactions = []engine.OpenTransaction{{PID: 7, User: "shop", Application: "psql", Since: ago(3 * time.Minute),
				Writes: true}}
		}}, "warning: A transaction has been open for 3 m: psql (process 7, user shop). What it enqueued is sent once it commits. " +
			"Until then, sent messages cannot be cleaned up, which slows the relay. {/outbox}"},
		"the broker's settings": {[]func(facts){func(f facts) { f.Policy, f.Command = "There is no policy.", "rabbitmqctl set_policy x" }},
			"warning: The broker's settings for the job queues need a change. There is no policy. Jobs run all the same. " +
				"$ rabbitmqctl set_policy x"},
		"figures that are missing": {[]func(facts){func(f facts) { f.Limits = "The broker's management API does not answer: EOF." }},
			"warning: Figures of the broker are missing. The broker's management API does not answer: EOF."},
		"a lag of a moment is none": {[]func(facts){func(f facts) { f.Lag = 10 * time.Second }}, ""},
		"lost jobs": {[]func(facts){func(f facts) { f.Drift = engine.DriftStats{Repaired: 2, Suspects: engine.SuspectsMax + 1} }},
			`notice: 2 jobs were re-sent in the last hour after the broker or a worker lost them.
notice: 1,000+ jobs look lost and are being watched.`},
		"more dead jobs than are counted": {[]func(facts){func(f facts) { f.Dead.Open = jobs.CountCap + 1 }},
			"broken: 10,000+ jobs died in the last 24 h. {/failures}"},
		"jobs of known failures are a note": {[]func(facts){func(f facts) {
			f.Dead = jobs.DeadCounts{Known: 12, KnownFailures: 2}
		}}, "warning: 12 jobs died in the last 24 h of 2 known failures. {/failures?status=known}"},
		"jobs of open and of known failures": {[]func(facts){func(f facts) {
			f.Dead = jobs.DeadCounts{Open: 1, Known: 1, KnownFailures: 1}
		}}, `broken: 1 job died in the last 24 h. {/failures}
warning: 1 job died in the last 24 h of 1 known failure. {/failures?status=known}`},
	} {
		f := views.FindingFacts{Now: night, Workers: 2, VHost: "v", QueuePrefix: "jobs."}
		for _, change := range c.facts {
			change(&f)
		}
		var lines []string
		for _, found := range views.Findings(f) {
			lines = append(lines, line(found))
		}
		require.Equal(t, c.want, strings.Join(lines, "\n"), name)
	}
}
