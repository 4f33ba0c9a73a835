package schedule_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/schedule"
)

func times(t *testing.T, rule string, anchor time.Time, starts, ends *time.Time) schedule.Times {
	t.Helper()
	ts, err := schedule.NewTimes(rule, "", anchor, starts, ends)
	require.NoError(t, err)
	return ts
}

func TestTimes_LieBetweenStartAndEnd(t *testing.T) {
	t.Parallel()
	starts, ends := at(t, "2026-01-02T03:00:30Z"), at(t, "2026-01-02T03:20:30Z")
	now := at(t, "2026-01-01T00:00:00Z")
	every := times(t, "every 10m", now, &starts, &ends)
	require.Equal(t, []time.Time{starts, starts.Add(10 * time.Minute), ends}, every.NextTimes(now, 5),
		"an interval begins at the start itself")
	require.Equal(t, starts.Add(10*time.Minute), every.Next(starts))
	cron := times(t, "*/10 * * * *", now, &starts, &ends)
	require.Equal(t, []time.Time{at(t, "2026-01-02T03:10:00Z"), at(t, "2026-01-02T03:20:00Z")}, cron.NextTimes(now, 5))
	exact := at(t, "2026-01-02T03:10:00Z")
	require.Equal(t, exact, times(t, "*/10 * * * *", now, &exact, nil).Next(now), "the start is a time if the rule has it")
}

func TestTimes_NewestIsExactForRulesOfAnyDensity(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-06-01T00:00:00Z")
	for _, rule := range []string{"every 1s", "every 7s", "* * * * *", "0 9 * * 1-5", "0 0 1 1 *"} {
		for _, since := range []time.Duration{time.Second, time.Hour, 400 * 24 * time.Hour} {
			ts := times(t, rule, now.Add(-500*24*time.Hour), nil, nil)
			first := ts.Next(now.Add(-since))
			if first.After(now) {
				continue
			}
			const n = 50
			newest := ts.Newest(first, now, n)
			left := ts.Between(newest.Add(-1), now, 10*n)
			require.LessOrEqual(t, len(left), n, "%s since %s", rule, since)
			if len(left) < n {
				require.Equal(t, first, newest, "%s since %s: nothing is dropped", rule, since)
			}
		}
	}
}

func TestInput_IsRefusedFieldByField(t *testing.T) {
	t.Parallel()
	early, late := at(t, "2026-01-01T00:00:00Z"), at(t, "2026-01-02T00:00:00Z")
	job := func() *schedule.Job { return &schedule.Job{Kind: "work"} }
	for field, in := range map[string]schedule.Input{
		"name":           {Rule: "@daily", Job: job()},
		"rule":           {Name: "a", Rule: "sometimes", Job: job()},
		"zone":           {Name: "a", Rule: "@daily", Zone: "Mars/Base", Job: job()},
		"job":            {Name: "a", Rule: "@daily"},
		"event":          {Name: "a", Rule: "@daily", Job: job(), Event: &schedule.Event{Exchange: "x", Key: "y"}},
		"job.kind":       {Name: "a", Rule: "@daily", Job: &schedule.Job{Kind: "Work!"}},
		"job.queue":      {Name: "a", Rule: "@daily", Job: &schedule.Job{Kind: "work", Queue: "a b"}},
		"event.exchange": {Name: "a", Rule: "@daily", Event: &schedule.Event{Key: "y"}},
		"event.body":     {Name: "a", Rule: "@daily", Event: &schedule.Event{Exchange: "x", Key: "y", Body: json.RawMessage(`{`)}},
		"overlap":        {Name: "a", Rule: "@daily", CatchUp: schedule.CatchUpAll, Job: job()},
		"catch_up":       {Name: "a", Rule: "@daily", CatchUp: "some", Job: job()},
		"ends_at":        {Name: "a", Rule: "@daily", Job: job(), StartsAt: &late, EndsAt: &early},
		"event.content_type": {Name: "a", Rule: "@daily",
			Event: &schedule.Event{Exchange: "x", Key: "y", ContentType: "a\x00", Body: json.RawMessage(`""`)}},
	} {
		var wrong jobs.FieldErrors
		require.ErrorAs(t, in.Prepare(), &wrong, field)
		require.Len(t, wrong, 1, field)
		require.Equal(t, field, wrong[0].Field)
	}
}

func TestEvent_OfAnotherContentTypeIsSentAsItsText(t *testing.T) {
	t.Parallel()
	text := events.Event{Exchange: "x", Key: "y", ContentType: "text/plain", Body: []byte(`say "hi"`)}
	for _, e := range []events.Event{text, events.JSON("x", "y", 7)} {
		in := schedule.Input{Name: "a", Rule: "@daily", Event: schedule.NewEvent(e)}
		require.NoError(t, in.Prepare())
		require.Equal(t, schedule.OverlapAllow, in.Overlap)
		made := in.Event.New()
		require.Equal(t, string(e.Body), string(made.Body))
		require.Equal(t, e.ContentType, made.ContentType)
	}
}
