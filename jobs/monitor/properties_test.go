package monitor

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCounters_RatesAreNeverNegativeAndNeverNaN(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		counter := rapid.OneOf(rapid.Just[*int64](nil), rapid.Map(rapid.Int64Min(0), n))
		var tr track
		at := start
		for range rapid.IntRange(1, 12).Draw(t, "polls") {
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Minute)).Draw(t, "later")))
			tr = tr.add(point{at: at, n: Counters{
				Publish: counter.Draw(t, "publish"), Deliver: counter.Draw(t, "deliver"), Ack: counter.Draw(t, "ack"),
				Redeliver: counter.Draw(t, "redeliver")}})
			r := tr.rates()
			for _, rate := range []*float64{r.Publish, r.Deliver, r.Ack, r.Redeliver} {
				if rate != nil && (*rate < 0 || math.IsNaN(*rate) || math.IsInf(*rate, 0)) {
					t.Fatalf("rate %v", *rate)
				}
			}
		}
	})
}

func TestCounters_AHistoryHasAtMost500Points(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := start.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "from")))
		to := from.Add(time.Duration(rapid.Int64Range(0, int64(5*365*24*time.Hour)).Draw(t, "span")))
		points := len(NewSeries(nil, from, to, Step(from, to)).At)
		require.LessOrEqual(t, points, PointsMax)
		require.Positive(t, points)
	})
}
