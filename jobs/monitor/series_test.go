package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSeries_TheStepFitsTheSpan(t *testing.T) {
	t.Parallel()
	require.Equal(t, 5*time.Second, Step(start, start.Add(10*time.Minute)))
	require.Equal(t, 5*time.Minute, Step(start, start.Add(24*time.Hour)))
	require.Equal(t, 2*time.Hour, Step(start, start.Add(30*24*time.Hour)))
}

// ready returns the ready series of samples (at, until, ready), in seconds after start, on a grid
// of 5 s up to a minute.
func ready(samples ...[3]int64) []*int64 {
	var list []Sample
	for _, s := range samples {
		at := func(i int) time.Time { return start.Add(time.Duration(s[i]) * time.Second) }
		list = append(list, Sample{At: at(0), Until: at(1), Ready: n(s[2])})
	}
	return NewSeries(list, start, start.Add(time.Minute), 5*time.Second).Ready
}

func TestSeries_AGapIsAGap(t *testing.T) {
	t.Parallel()
	one, two := n(1), n(2)
	for _, c := range []struct {
		rule string
		got  []*int64
		want []*int64
	}{
		{"nothing seen is nothing known", ready(), make([]*int64, 12)},
		{"a sample stands until it ends and one poll longer", ready([3]int64{0, 20, 1}),
			[]*int64{one, one, one, one, one, one, nil, nil, nil, nil, nil, nil}},
		{"between two samples without a missed poll there is no gap", ready([3]int64{0, 10, 1}, [3]int64{27, 60, 2}),
			[]*int64{one, one, one, one, one, two, two, two, two, two, two, two}},
		{"a missed stretch is a gap", ready([3]int64{0, 4, 1}, [3]int64{50, 60, 2}),
			[]*int64{one, one, nil, nil, nil, nil, nil, nil, nil, nil, two, two}},
		{"the highest depth in a step counts", ready([3]int64{0, 59, 1}, [3]int64{1, 4, 2})[:2], []*int64{two, one}},
		{"a sample from before the span reaches into it", ready([3]int64{-100, 7, 1})[:4], []*int64{one, one, one, nil}},
	} {
		require.Equal(t, c.want, c.got, c.rule)
	}
}

func TestSeries_CountsRedeliveriesByTheMinute(t *testing.T) {
	t.Parallel()
	at := func(s int64) int64 { return start.Truncate(time.Minute).Unix() + s }
	s := Series{Step: 20, At: []int64{at(20), at(40), at(60), at(80), at(100), at(120), at(140), at(160)},
		Redelivered: []*int64{n(5), n(7), n(8), nil, n(90), n(92), n(0), n(3)}}
	from, step, counts := s.Redeliveries()
	require.Equal(t, []int64{at(0), 60}, []int64{from, step})
	require.Equal(t, []*int64{n(2), n(1), n(5)}, counts, "what a gap and a reset hide is not counted")
	s.Step, s.At = 3600, []int64{at(0), at(3600)}
	s.Redelivered = []*int64{n(5), n(65)}
	_, step, counts = s.Redeliveries()
	require.Equal(t, int64(3600), step)
	require.Equal(t, []*int64{nil, n(60)}, counts)
}

func TestSeries_NamesItsGaps(t *testing.T) {
	t.Parallel()
	at := func(i int) time.Time { return time.Unix(int64(i)*10, 0) }
	one := n(1)
	s := Series{Step: 10, At: []int64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90},
		Ready: []*int64{nil, nil, nil, one, nil, nil, nil, one, nil, one}}
	require.Equal(t, []Gap{{at(4), at(7)}}, s.Gaps(), "not before the first sample, and not for one missed poll")
	s.Ready = []*int64{one, nil, nil, nil, nil, nil, nil, nil, nil, nil}
	require.Equal(t, []Gap{{at(1), at(10)}}, s.Gaps())
}

func TestActivitySeries_IsTheMeanOfAMinuteAndUnknownInAGap(t *testing.T) {
	t.Parallel()
	moment := func(s, completed int64) Moment {
		return Moment{At: time.Unix(s, 0), Seconds: 10, Completed: completed, OutboxAge: float64(s)}
	}
	var list []Moment
	for s := int64(10); s <= 120; s += 10 { // 0 and 20 by turns: a saw-tooth
		list = append(list, moment(s, s%20*2))
	}
	list = append(list, moment(300, 60))
	var at []int64
	for s := int64(60); s < 320; s += 10 {
		at = append(at, s)
	}
	got := NewActivitySeries(list, at, 10)
	for i, s := range at {
		switch {
		case s <= 110:
			require.InDelta(t, 1, *got.Completed[i], 0.01, s)
		case s < 140: // the last moment still stands
			require.NotNil(t, got.Completed[i], s)
		case s < 300:
			require.Nil(t, got.Completed[i], s)
		default:
			require.InDelta(t, 6, *got.Completed[i], 0.01, s)
			require.InDelta(t, 300, *got.OutboxAge[i], 0.01)
		}
	}
}
