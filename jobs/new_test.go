package jobs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestParseTime_IsRFC3339OrAWaitFromNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"":                          {},
		"+10m":                      now.Add(10 * time.Minute),
		"+1h30m":                    now.Add(90 * time.Minute),
		"+0s":                       now,
		"2026-01-31T15:04:05Z":      time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC),
		"2026-01-31T15:04:05+02:00": time.Date(2026, 1, 31, 13, 4, 5, 0, time.UTC),
		"2026-01-31T15:04:05.25Z":   time.Date(2026, 1, 31, 15, 4, 5, 250e6, time.UTC),
	} {
		got, err := jobs.ParseTime(s, now)
		require.NoError(t, err, s)
		require.True(t, want.Equal(got), "%s: %s", s, got)
	}
	for _, s := range []string{"+", "+10", "+-1m", "10m", "-1m", "tomorrow", "2026-02-30T00:00:00Z", "2026-01-31", "2026-01-31 15:04:05",
		"\x00"} {
		_, err := jobs.ParseTime(s, now)
		require.Error(t, err, s)
	}
}

func TestNewJob_AllThatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	r := orders()
	job := jobs.NewJob{Kind: "order", Queue: "a b", MaxAttempts: -1, Args: json.RawMessage(`{"name":1}`)}
	var bad jobs.FieldErrors
	require.ErrorAs(t, r.Prepare(&job), &bad)
	var fields []string
	for _, e := range bad {
		fields = append(fields, e.Field)
	}
	require.ElementsMatch(t, []string{"queue", "max_attempts", "args.number", "args.name"}, fields)
}

func TestNewJob_DefaultsAreFilledInOnce(t *testing.T) {
	t.Parallel()
	job := jobs.NewJob{Kind: "work"}
	require.NoError(t, job.Prepare())
	require.NotEqual(t, uuid.Nil, job.ID)
	require.Equal(t, "default", job.Queue)
	require.Equal(t, jobs.MaxAttemptsDefault, job.MaxAttempts)
	require.Equal(t, "{}", string(job.Args))
	once := job
	require.NoError(t, job.Prepare())
	require.Equal(t, once, job)
}

func TestFieldErrors_TheirTextNamesTwentyAndCountsTheRest(t *testing.T) {
	t.Parallel()
	var errs jobs.FieldErrors
	for range 40_000 {
		errs = append(errs, jobs.FieldError{Field: "args", Message: "is wrong"})
	}
	require.Contains(t, errs.Error(), "; and 39980 more")
	require.Less(t, len(errs.Error()), 1000)
	require.Equal(t, "args: is wrong; args: is wrong", errs[:2].Error())
}

// FuzzParseTime checks that a time is refused, or one that a job can be given.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"", "+10m", "+9999999h", "+1e3s", "+-1m", "+2562047h47m16.854775807s", "2026-01-31T15:04:05+02:00",
		"9999-12-31T23:59:59-23:59"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		at, err := jobs.ParseTime(s, now)
		switch {
		case err != nil:
			require.NotEmpty(t, err.Error())
		case s == "":
			require.True(t, at.IsZero())
		case s[0] == '+':
			require.False(t, at.Before(now))
		}
	})
}
