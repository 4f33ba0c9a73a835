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
