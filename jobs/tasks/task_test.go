package tasks_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

func TestParseTime_TakesWhatDatabasesAndSpreadsheetsWrite(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 12, 3, 14, 0, 0, 0, time.UTC)
	for _, text := range []string{"2026-12-03 14:00:00", "2026-12-03 14:00:00+00", "2026-12-03 14:00:00.123456+00",
		"2026-12-03 15:00:00+01:00",
		"2026-12-03 14:00:00Z", "2026-12-03T14:00Z", "2026-12-03 14:00", "2026-12-03T14:00:00Z", "2026-12-03T15:00+01:00",
		"2026-12-03T15:00:00+0100", "2026-12-03T14:00:00.000Z", "2026-12-03 15:00+01:00", "2026-12-03 14:00:00 UTC",
		"2026-12-03 14:00:00.5 UTC",
		"2026-12-03 14:00:00 +0000 UTC", "2026-12-03 19:30:00+05:30", "2026-12-03 11:00:00-03", " 2026-12-03T14:00:00,25 ",
		"2026-12-03T14:00:00.999999999"} {
		at, err := tasks.ParseTime(text)
		require.NoError(t, err, text)
		require.Equal(t, want, at.Truncate(time.Second), text)
	}
}

// A date that people of two countries read differently is not guessed.
func TestParseTime_RefusesWhatItWouldHaveToGuess(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"03/12/2026", "12/3/26", "03.12.2026", "2026-12-03 14:00:00 CET", "2026-12-03 2:00 PM", "46359.58333",
		"1796306400",
		"tomorrow", "2026-13-01", "2026-02-30", "2026-12-03 24:00", "0000-00-00", "infinity", "2026-12-03 14:00:00 Europe/Berlin"} {
		_, err := tasks.ParseTime(text)
		require.ErrorContains(t, err, "is not a valid time. Use", text)
	}
}

func TestParseTimeIn_TakesATimeAsTheClocksOfItsZoneShowIt(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"2026-01-31T09:00", "2026-01-31T08:00:00Z"}, {"2026-07-31T09:00", "2026-07-31T07:00:00Z"}, {"2026-07-31", "2026-07-30T22:00:00Z"},
		{"2026-07-31T09:00Z", "2026-07-31T09:00:00Z"}, {"2026-07-31T09:00:00-04:00", "2026-07-31T13:00:00Z"},
		{"2026-07-31 09:00 UTC", "2026-07-31T09:00:00Z"}, {"2026-03-29T01:59:59", "2026-03-29T00:59:59Z"},
	} {
		at, err := tasks.ParseTimeIn(c[0], "Europe/Berlin")
		require.NoError(t, err, c[0])
		require.Equal(t, c[1], at.Format(time.RFC3339), c[0])
	}
	_, err := tasks.ParseTimeIn("2026-03-29T02:30", "Europe/Berlin")
	require.EqualError(t, err, `"2026-03-29T02:30" does not exist in Europe/Berlin: the clocks go forward there`)
	_, err = tasks.ParseTimeIn("2026-03-29T02:30", "Mars/Olympus")
	require.ErrorContains(t, err, "is not a known time zone")
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"", "2026-12-03", "2026-12-03 14:00:00.123456+00", "2026-12-03T14:00Z", "2026-12-03 14:00:00 +0000 UTC",
		"9999-12-31 23:59:59-23:59",
		"0000-01-01T00:00", " UTC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := tasks.ParseTime(s)
		if err != nil || at == nil {
			require.Nil(t, at)
			return
		}
		again, err := tasks.ParseTime(at.Format(time.RFC3339Nano))
		if y := at.Year(); y >= 0 && y <= 9999 {
			require.NoError(t, err)
			require.Equal(t, at, again)
		}
	})
}

func TestPrepare_NamesTheFieldOfAWrongZone(t *testing.T) {
	t.Parallel()
	in := tasks.Input{Description: "x", Job: &tasks.Job{Kind: "dots", Args: []byte(`{}`), Runs: tasks.RunsSchedule, Rule: "every 10m",
		Zone: "Mars/Base"}}
	var wrong jobs.FieldErrors
	require.ErrorAs(t, in.Prepare(), &wrong)
	require.Equal(t, "job.zone", wrong[0].Field)
}
