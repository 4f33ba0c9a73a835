package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

func n(v int64) *int64     { return &v }
func f(v float64) *float64 { return &v }

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// polls returns the publish rate after polls 5 s apart that read these counters; nil means no counter.
func polls(counters ...*int64) *float64 {
	var t track
	for i, c := range counters {
		t = t.add(point{at: start.Add(time.Duration(i) * 5 * time.Second), n: Counters{Publish: c}})
	}
	return t.rates().Publish
}

func TestCounters_RatesComeFromCounters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule string
		got  *float64
		want *float64
	}{
		{"one poll tells no rate", polls(n(100)), nil},
		{"two polls do", polls(n(100), n(150)), f(10)},
		{"nothing moved is 0, which is known", polls(n(100), n(100)), f(0)},
		{"a counter that is not told is unknown, not 0", polls(nil, nil), nil},
		{"a counter that appears was 0 before", polls(nil, n(5)), f(1)},
		{"the mean of the last four intervals smooths the broker's own 5 s", polls(n(0), n(0), n(40), n(40), n(80)), f(4)},
		{"what is older does not count", polls(n(0), n(1000), n(1000), n(1000), n(1000), n(1000)), f(0)},
		{"a counter that fell began anew: unknown, never negative", polls(n(100), n(120), n(3)), nil},
		{"and counts again from there", polls(n(100), n(120), n(3), n(13)), f(2)},
		{"a counter that vanished began anew, too", polls(n(100), nil, n(100)), f(20)},
	} {
		require.Equal(t, c.want, c.got, c.rule)
	}
}

func TestCounters_TheRateOfRedeliveriesIsThatOfTheLastMinute(t *testing.T) {
	t.Parallel()
	var tr track
	for i := range 20 {
		redelivered := int64(30 * min(i, 10)) // none since poll 10
		tr = tr.add(point{at: start.Add(time.Duration(i) * 5 * time.Second), n: Counters{Redeliver: &redelivered}})
	}
	require.Equal(t, f(1.5), tr.rates().Redeliver, "90 in the last 60 s")
}

func TestCounters_NoRateSpansAGap(t *testing.T) {
	t.Parallel()
	tr := track{}.add(point{at: start, n: Counters{Ack: n(1)}})
	tr = tr.add(point{at: start.Add(GapAfter + time.Second), n: Counters{Ack: n(9)}})
	require.Nil(t, tr.rates().Ack)
}

// saw returns a queue with this redeliver counter and a publish counter, which is reset with it.
func saw(redeliver, publish *int64) management.Queue {
	return management.Queue{VHost: "/", Name: "q", Ready: n(0), Unacked: n(0), Counters: Counters{Redeliver: redeliver, Publish: publish}}
}

func TestCounters_RedeliveredSurvivesRestartsOfTheBroker(t *testing.T) {
	t.Parallel()
	var nothing *int64
	for _, c := range []struct {
		rule string
		said []management.Queue
		want *int64
	}{
		{"not told is unknown", []management.Queue{saw(nothing, n(3))}, nil},
		{"told 0 is 0", []management.Queue{saw(n(0), n(3))}, n(0)},
		{"a queue that came since the last poll counts in full", []management.Queue{saw(n(2), n(3))}, n(2)},
		{"what comes adds up", []management.Queue{saw(n(2), n(3)), saw(n(5), n(3))}, n(5)},
		{"first told late is counted in full", []management.Queue{saw(nothing, n(3)), saw(n(2), n(3))}, n(2)},
		{"a smaller counter began anew", []management.Queue{saw(n(5), n(9)), saw(n(2), n(9))}, n(7)},
		{"an equal one did, if another counter fell", []management.Queue{saw(n(1), n(9)), saw(n(1), n(2))}, n(2)},
		{"the sum stays while the broker says nothing", []management.Queue{saw(n(5), n(9)), saw(nothing, nothing)}, n(5)},
		{"and goes on when it does", []management.Queue{saw(n(1), n(9)), saw(nothing, nothing), saw(n(1), nothing)}, n(2)},
		{"a name alone is no news: the counters may come back as they were",
			[]management.Queue{saw(n(5), n(9)), {VHost: "/", Name: "q"}, saw(n(6), n(9))}, n(6)},
	} {
		var before *Queue
		for i, said := range c.said {
			q := observe(said, before, &start, start.Add(time.Duration(i+1)*5*time.Second))
			before = &q
		}
		require.Equal(t, c.want, before.Redelivered, c.rule)
		require.Equal(t, start, *before.CounterSince, c.rule)
	}
}

func TestCounters_AtTheVeryFirstPollCountingBeginsAt0(t *testing.T) {
	t.Parallel()
	q := observe(saw(n(5000), n(9)), nil, nil, start)
	require.Equal(t, n(0), q.Redelivered, "the broker's 5000 are of a time we know nothing of")
	require.Equal(t, start, *q.CounterSince)
	q = observe(saw(n(5001), n(9)), &q, &start, start.Add(5*time.Second))
	require.Equal(t, n(1), q.Redelivered)
}

func TestCounters_EmptySinceIsOfPollsWithoutAGap(t *testing.T) {
	t.Parallel()
	look := func(before *Queue, after time.Duration, ready, unacked *int64) *Queue {
		q := observe(management.Queue{Name: "q", Ready: ready, Unacked: unacked}, before, &start, start.Add(after))
		return &q
	}
	q := look(nil, 0, n(0), n(0))
	require.Equal(t, start, *q.EmptySince)
	q = look(q, 5*time.Second, n(0), n(0))
	require.Equal(t, start, *q.EmptySince)
	require.Nil(t, look(q, 10*time.Second, n(0), n(1)).EmptySince, "unacked is not empty")
	require.Nil(t, look(q, 10*time.Second, nil, n(0)).EmptySince, "unknown is not empty")
	q = look(q, time.Hour, n(0), n(0))
	require.Equal(t, start.Add(time.Hour), *q.EmptySince, "nobody looked for an hour")
}
