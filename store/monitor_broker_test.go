package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func n(v int64) *int64     { return &v }
func f(v float64) *float64 { return &v }

// noon is when the polls of these tests begin.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// depth returns a queue with that many ready messages at a time.
func depth(name string, ready int64, at time.Time) monitor.Queue {
	return monitor.Queue{VHost: "/", Name: name, Type: "quorum", State: "running", Arguments: json.RawMessage(`{}`),
		Ready: n(ready), Unacked: n(0), Consumers: n(1), SampledAt: at}
}

// seen saves a poll that saw the queues, and their total.
func seen(t *testing.T, s *store.Store, at time.Time, queues ...monitor.Queue) {
	t.Helper()
	var sum int64
	for _, q := range queues {
		sum += *q.Ready
	}
	snap := monitor.Snapshot{At: at, Queues: queues, Total: monitor.Sample{Ready: n(sum)}}
	require.NoError(t, s.SaveBroker(t.Context(), snap))
}

// database returns a store and a direct connection to its database.
func database(t *testing.T) (*store.Store, *pgx.Conn) {
	t.Helper()
	url := storetest.Migrated(t)
	s := storetest.Open(t, url)
	return s, dial(t, url)
}

// dial opens a direct connection to the database, beside the store's.
func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func number(t *testing.T, conn *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	var count int
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(&count))
	return count
}

// samplesOf counts the stored samples of the queues, without those of the total.
func samplesOf(t *testing.T, conn *pgx.Conn, resolution int) int {
	t.Helper()
	return number(t, conn, `SELECT count(*) FROM warren.queue_samples WHERE queue_id <> 0 AND resolution = $1`, resolution)
}

func TestBroker_AQueueIsKeptAsItWasSeen(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	since, empty := noon.Add(-time.Hour), noon.Add(-time.Minute)
	q := monitor.Queue{
		VHost: "/", Name: "warren.jobs.default", Ready: n(3), Unacked: n(1), Redelivered: n(7), CounterSince: &since, Consumers: n(2),
		Rates: monitor.Rates{Publish: f(1.5), Deliver: f(0)}, SampledAt: noon,
		Type: "quorum", State: "running", Policy: "warren", Arguments: json.RawMessage(`{"x-queue-type":"quorum"}`),
		EmptySince: &empty, Counters: monitor.Counters{Publish: n(10), Redeliver: n(2)},
	}
	seen(t, s, noon, q)
	got, err := s.Queue(t.Context(), store.OwnQueues{}, "/", q.Name)
	require.NoError(t, err)
	require.Equal(t, asJSON(t, q), asJSON(t, got))
	at, err := s.LastSample(t.Context())
	require.NoError(t, err)
	require.True(t, noon.Equal(at))
	require.Equal(t, q.Counters, got.Counters)
	require.True(t, empty.Equal(*got.EmptySince))
	require.Equal(t, q.Arguments, got.Arguments)

	require.JSONEq(t,
		`{"vhost":"/","name":"warren.jobs.default","ready":3,"unacked":1,"redelivered":7,"counter_since":"2026-11-21T11:00:00Z",
		"consumers":2,"rates":{"publish":1.5,"deliver":0,"ack":null,"redeliver":null},"sampled_at":"2026-11-21T12:00:00Z",
		"job_queue":null,"paused_at":null,"paused_by":null,"external":false,"drifted":0,"oldest_at":null,"trend":null,
		"trouble":null}`, asJSON(t, q))
}

func asJSON(t *testing.T, q monitor.Queue) string {
	t.Helper()
	q.SampledAt = q.SampledAt.UTC()
	if q.CounterSince != nil {
		since := q.CounterSince.UTC()
		q.CounterSince = &since
	}
	raw, err := json.Marshal(q)
	require.NoError(t, err)
	return string(raw)
}

func TestBroker_AQueueThatVanishedIsGoneAndItsHistoryIsNot(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	seen(t, s, noon, depth("stays", 1, noon), depth("goes", 2, noon))
	later := noon.Add(5 * time.Second)
	seen(t, s, later, depth("stays", 1, later))

	_, err := s.Queue(t.Context(), store.OwnQueues{}, "/", "goes")
	require.ErrorIs(t, err, jobs.ErrNotFound)
	series, err := s.Samples(t.Context(), "/", "goes", noon, noon.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, n(2), series.Ready[0])

	back := noon.Add(10 * time.Second)
	seen(t, s, back, depth("goes", 9, back))
	series, err = s.Samples(t.Context(), "/", "goes", noon, noon.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, []*int64{n(2), n(2), n(9)}, series.Ready[:3], "the same history when it is back")
}

func TestBroker_AnUnchangedQueueWritesNoSample(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for i, ready := range []int64{0, 0, 0, 4, 4} {
		at := noon.Add(time.Duration(i) * 5 * time.Second)
		seen(t, s, at, depth("q", ready, at))
	}
	require.Equal(t, 2, samplesOf(t, conn, 5))
	series, err := s.Samples(t.Context(), "/", "q", noon, noon.Add(25*time.Second))
	require.NoError(t, err)
	require.Equal(t, []*int64{n(0), n(0), n(0), n(4), n(4)}, series.Ready)
	q, err := s.Queue(t.Context(), store.OwnQueues{}, "/", "q")
	require.NoError(t, err)
	require.True(t, q.SampledAt.Equal(noon.Add(20*time.Second)), "yet it was seen")
}

func TestBroker_PollsThatDidNotHappenAreAGap(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, after := range []time.Duration{0, 5 * time.Second, 65 * time.Second, 70 * time.Second} {
		at := noon.Add(after)
		seen(t, s, at, depth("q", 1, at))
	}
	require.Equal(t, 2, samplesOf(t, conn, 5), "equal values on both sides of the gap are two samples")
	series, err := s.Samples(t.Context(), "/", "q", noon, noon.Add(80*time.Second))
	require.NoError(t, err)
	var known []int
	for i, v := range series.Ready {
		if v != nil {
			known = append(known, i)
		}
	}
	require.Equal(t, []int{0, 1, 2, 13, 14, 15}, known)
}

func TestBroker_QueuesAreSearchedSortedAndCapped(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	queues := []monitor.Queue{{VHost: "/", Name: "unknown_depth", SampledAt: noon, Ready: n(0)}}
	queues[0].Ready = nil
	for i := range 300 {
		queues = append(queues, depth(fmt.Sprintf("Orders-%03d", i), int64(i), noon))
	}
	require.NoError(t, s.SaveBroker(t.Context(), monitor.Snapshot{At: noon, Queues: queues}))

	names := func(f store.QueueFilter, limit int) (names []string, all int) {
		page, total, err := s.Queues(t.Context(), f, jobs.Cursor{}, limit)
		require.NoError(t, err)
		for _, q := range page.Items {
			names = append(names, q.Name)
		}
		return names, total.Queues
	}
	got, all := names(store.QueueFilter{}, 200)
	require.Len(t, got, 200)
	require.Equal(t, 301, all)
	got, all = names(store.QueueFilter{Search: "ORDERS-00", Sort: "ready", Desc: true}, 2)
	require.Equal(t, []string{"Orders-009", "Orders-008"}, got)
	require.Equal(t, 10, all)
	got, _ = names(store.QueueFilter{Search: "s-%"}, 10)
	require.Empty(t, got, "a search is a part of the name, not a pattern")
	got, all = names(store.QueueFilter{VHost: "other"}, 10)
	require.Empty(t, got)
	require.Zero(t, all)
}

func TestBroker_ChannelsAreThoseOfTheLastLook(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	holds := func(name string, unacked *int64) monitor.Channel {
		return monitor.Channel{VHost: "/", Queue: "q", Channel: name, Connection: "c", Client: "worker@host/1", Consumers: 1,
			Prefetch: n(5), Unacked: unacked, SampledAt: noon}
	}
	save := func(of []string, channels ...monitor.Channel) {
		snap := monitor.Snapshot{At: noon, Queues: []monitor.Queue{depth("q", 0, noon)}, Channels: channels, ChannelsOf: of}
		require.NoError(t, s.SaveBroker(t.Context(), snap))
	}
	list := func(queue string) []string {
		channels, err := s.Channels(t.Context(), "/", queue)
		require.NoError(t, err)
		names := []string{}
		for _, c := range channels {
			names = append(names, c.Channel)
		}
		return names
	}
	save([]string{"/"}, holds("a", n(1)), holds("b", n(5)), holds("new", nil))
	require.Equal(t, []string{"b", "a", "new"}, list("q"), "those that hold most first")
	require.Empty(t, list("other"))
	require.Len(t, list(""), 3, "all of the vhost")
	save(nil)
	require.Len(t, list("q"), 3, "a poll that did not look leaves them")
	save([]string{"/"})
	require.Empty(t, list("q"))
}

func TestBroker_AForgottenAcknowledgementIsFoundAndALongJobIsNot(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.processes (id, name, host, pid, roles, version, state)
		VALUES (gen_random_uuid(), 'host/7', 'host', 7, '{worker}', '', 'running')`)
	holds := func(name, client string, prefetch, unacked int64, d time.Duration) monitor.Channel {
		since := noon.Add(-d)
		return monitor.Channel{VHost: "/", Queue: "q", Channel: name, Client: client, Prefetch: n(prefetch), Unacked: n(unacked),
			HoldingSince: &since, SampledAt: noon}
	}
	quick := holds("quick", "", 5, 5, 0)
	quick.HoldingSince = nil
	polled := holds("polled", "", 0, 1, 25*time.Minute)
	polled.Queue = ""
	snap := monitor.Snapshot{At: noon, Queues: []monitor.Queue{depth("q", 0, noon)}, ChannelsOf: []string{"/"}, Channels: []monitor.Channel{
		holds("full", "shop", 5, 5, time.Minute), holds("short", "shop", 5, 5, 20*time.Second), holds("busy", "shop", 5, 4, 5*time.Minute),
		holds("long", "shop", 5, 1, 20*time.Minute), holds("unbounded", "", 0, 900, 15*time.Minute),
		holds("unbounded-short", "", 0, 900, time.Minute), holds("ours", "host/7 worker", 1, 1, time.Hour),
		holds("other", "host/77 worker", 1, 1, time.Hour), quick, polled,
	}}
	require.NoError(t, s.SaveBroker(t.Context(), snap))
	list, err := s.ForgottenAcks(t.Context(), noon)
	require.NoError(t, err)
	var names []string
	for _, c := range list {
		names = append(names, c.Channel)
	}
	require.Equal(t, []string{"other", "polled", "long", "unbounded", "full"}, names, "the longest first")
}

func TestBroker_OldSamplesBecomeCoarser(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	// Two minutes of changes each 5 s, then an hour without any, then one more.
	for i := range 24 {
		at := noon.Add(time.Duration(i) * 5 * time.Second)
		q := depth("q", int64(i%12), at)
		q.Redelivered, q.Rates.Publish = n(int64(i)), f(float64(i%2))
		seen(t, s, at, q)
	}
	for at := noon.Add(2 * time.Minute); at.Before(noon.Add(time.Hour)); at = at.Add(15 * time.Second) {
		seen(t, s, at, depth("q", 0, at))
	}
	seen(t, s, noon.Add(time.Hour), depth("q", 5, noon.Add(time.Hour)))
	require.Equal(t, 26, samplesOf(t, conn, 5))
	ready := func() []*int64 {
		series, err := s.Samples(t.Context(), "/", "q", noon, noon.Add(time.Hour+5*time.Minute))
		require.NoError(t, err)
		return series.Ready
	}

	young := ready()
	require.NoError(t, s.ThinSamples(t.Context(), noon.Add(5*time.Hour)))
	require.Equal(t, 26, samplesOf(t, conn, 5), "kept for 6 hours")

	require.NoError(t, s.ThinSamples(t.Context(), noon.Add(8*time.Hour)))
	require.Zero(t, samplesOf(t, conn, 5))
	require.Equal(t, 4, samplesOf(t, conn, 60), "a minute each for the changes, and the long one as it was")
	series, err := s.Samples(t.Context(), "/", "q", noon, noon.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, n(11), series.Ready[0], "the highest depth")
	require.Equal(t, n(11), series.Redelivered[0], "the last count")
	require.InDelta(t, 0.5, *series.Publish[0], 0.001, "the mean rate")
	require.Len(t, ready(), len(young))
	for i, v := range ready() {
		require.Equal(t, young[i] == nil, v == nil, "known stays known, a gap a gap: point %d", i)
	}

	require.NoError(t, s.ThinSamples(t.Context(), noon.Add(8*24*time.Hour)))
	require.Zero(t, samplesOf(t, conn, 60))
	require.Equal(t, 3, samplesOf(t, conn, 600))
	require.NoError(t, s.ThinSamples(t.Context(), noon.Add(91*24*time.Hour)))
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.queue_samples`), "and gone after 90 days")
}

func TestBroker_ASampleThatStillLastsIsNotOld(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	seen(t, s, noon, depth("q", 1, noon))
	_, err := conn.Exec(t.Context(), `UPDATE warren.queue_samples SET until = $1`, noon.Add(9*time.Hour))
	require.NoError(t, err)
	require.NoError(t, s.ThinSamples(t.Context(), noon.Add(9*time.Hour)))
	at := noon.Add(9*time.Hour + 5*time.Second)
	seen(t, s, at, depth("q", 1, at))
	require.Equal(t, 1, samplesOf(t, conn, 5))
	series, err := s.Samples(t.Context(), "/", "q", noon.Add(8*time.Hour), at)
	require.NoError(t, err)
	require.NotContains(t, series.Ready, (*int64)(nil), "it began long before the span and reaches all through it")
}

func TestBroker_SparklinesAndTotalsOfManyQueuesAreOneQueryEach(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for i := range 4 {
		at := noon.Add(time.Duration(i) * 5 * time.Second)
		seen(t, s, at, depth("a", int64(i), at), depth("b", 10, at))
	}
	to := noon.Add(15 * time.Second)
	lines, err := s.Sparklines(t.Context(), []monitor.Queue{depth("b", 0, noon), depth("none", 0, noon), depth("a", 0, noon)}, to)
	require.NoError(t, err)
	require.Len(t, lines, 3)
	last := len(lines[0]) - 1
	require.Equal(t, n(10), lines[0][last])
	require.Nil(t, lines[1][last])
	require.Equal(t, n(3), lines[2][last])
	require.Nil(t, lines[0][0])

	total, err := s.TotalSamples(t.Context(), noon, to.Add(5*time.Second))
	require.NoError(t, err)
	require.Equal(t, []*int64{n(10), n(11), n(12), n(13)}, total.Ready)
}

func TestBroker_ThousandsOfQueuesAreSavedInOneGo(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	const many = 5000
	queues := make([]monitor.Queue, many)
	for round := range 4 {
		at := noon.Add(time.Duration(round) * 5 * time.Second)
		for i := range queues {
			queues[i] = depth(fmt.Sprintf("q%d", i), 1, at)
		}
		began := time.Now()
		seen(t, s, at, queues...)
		t.Logf("round %d: %d queues saved in %v", round, many, time.Since(began))
	}
	require.Equal(t, many, samplesOf(t, conn, 5))
	began := time.Now()
	_, err := s.Sparklines(t.Context(), queues[:200], noon.Add(time.Minute))
	require.NoError(t, err)
	t.Logf("200 sparklines in %v", time.Since(began))
	began = time.Now()
	_, _, err = s.Queues(t.Context(), store.QueueFilter{Search: "99", Sort: "ready"}, jobs.Cursor{}, 200)
	require.NoError(t, err)
	t.Logf("200 queues of %d searched and sorted in %v", many, time.Since(began))
	began = time.Now()
	_, _, err = s.Queues(t.Context(), store.QueueFilter{Sort: "trouble"}, jobs.Cursor{}, 200)
	require.NoError(t, err)
	t.Logf("the worst 200 queues of %d found in %v", many, time.Since(began))
}

func TestBroker_HealthRemembersSinceWhenAndWhatItKnew(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	save := func(ok bool, message string, details any) bool {
		changed, err := s.SaveHealth(t.Context(), "broker", ok, message, details)
		require.NoError(t, err)
		return changed
	}
	read := func() store.Health {
		all, err := s.Health(t.Context())
		require.NoError(t, err)
		return all["broker"]
	}
	require.True(t, save(true, "", map[string]any{"version": "3.10.8"}))
	require.False(t, save(true, "", map[string]any{"version": "3.10.8"}), "times alone are no change")
	well := read()
	require.NotNil(t, well.OkAt)
	require.Nil(t, well.DownSince)

	require.True(t, save(false, "It does not answer.", nil))
	require.False(t, save(false, "It does not answer.", nil))
	down := read()
	require.Equal(t, well.OkAt, down.OkAt, "when it last was well stays")
	require.JSONEq(t, `{"version":"3.10.8"}`, string(down.Details))
	since := down.DownSince
	require.True(t, save(false, "Connection refused.", nil))
	require.Equal(t, since, read().DownSince, "another reason is the same outage")

	require.True(t, save(true, "", nil))
	require.Nil(t, read().DownSince)
	require.Empty(t, read().Message)
}

func TestBroker_OneLeadsAtATimeAndTheNextTakesOver(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ctx, cancel := context.WithCancel(t.Context())
	leads := make(chan int)
	lead := func(id int) error {
		return s.Lead(ctx, "test", func(ctx context.Context) error {
			select {
			case leads <- id:
			case <-ctx.Done():
				return nil
			}
			<-ctx.Done()
			return errors.New("its own end does not count when the lead is lost")
		})
	}
	done := make(chan error, 2)
	go func() { done <- lead(1) }()
	go func() { done <- lead(2) }()

	<-leads
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid
		FROM pg_database WHERE datname = current_database())`))
	// The leader's connection dies: another run leads after the first one has ended.
	require.Equal(t, 1, number(t, conn, `
		SELECT count(pg_terminate_backend(pid)) FROM pg_locks
		WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`))
	select {
	case <-leads:
	case <-time.After(20 * time.Second):
		require.Fail(t, "nobody leads")
	}
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

func TestBroker_LeadReturnsWhatRunReturns(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	problem := errors.New("enough")
	require.ErrorIs(t, s.Lead(t.Context(), "test", func(context.Context) error { return problem }), problem)
	require.NoError(t, s.Lead(t.Context(), "test", func(context.Context) error { return nil }), "and the lead is free again")
}

func TestQueues_AForgedCursorBreaksNothing(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, key := range []string{`{"Name":"\u0000","VHost":"\u0000"}`, `{"Value":1.7e308}`, `{"Name":"\ud800"}`} {
		_, _, err := s.Queues(t.Context(), store.QueueFilter{}, jobs.Cursor{Key: key}, 10)
		require.NoError(t, err, key)
	}
}
