package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/schedule"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	tm, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return tm.UTC()
}

func TestRule_ComesTrueAtTheTimesOfItsRuleAndZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rule, zone, after, next string }{
		{"every 10m", "", "2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z"},
		{"every 1h30m", "", "2026-01-01T00:10:00Z", "2026-01-01T01:30:00Z"},
		{"every 1h 30m", "", "2026-01-01T00:10:00Z", "2026-01-01T01:30:00Z"},
		{"30 9 * * 1-5", "", "2026-01-02T10:00:00Z", "2026-01-05T09:30:00Z"}, // a Friday: then Monday
		{"30 9 * * 1-5", "Europe/Berlin", "2026-01-02T10:00:00Z", "2026-01-05T08:30:00Z"},
		{"30 9 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T07:30:00Z"}, // daylight saving time has begun
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"}, // 02:30 does not exist on 29 March
		{"@daily", "", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"}, // 02:30 in summer time …
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"}, // … and in winter time
		{"0 */2 * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", "2026-10-25T01:00:00Z"},
		{"0 0 * * *", "Africa/Cairo", "2024-04-25T12:00:00Z", "2024-04-26T21:00:00Z"},     // 00:00 does not exist on 26 April
		{"0 9 * * 1", "America/Santiago", "2024-09-04T12:00:00Z", "2024-09-09T12:00:00Z"}, // nor on Sunday 8 September
		{"0 9 * * 0", "America/Santiago", "2024-09-04T12:00:00Z", "2024-09-08T12:00:00Z"},
		{"0 9 * * 0", "America/Havana", "2024-03-05T12:00:00Z", "2024-03-10T13:00:00Z"},
		{"30 23 * * 6", "America/Asuncion", "2024-03-23T12:00:00Z", "2024-03-24T02:30:00Z"},
		{"30 23 * * 6", "America/Asuncion", "2024-03-24T02:30:00Z", "2024-03-24T03:30:00Z"}, // the hour before midnight comes twice
		{"45 1 * * *", "Australia/Lord_Howe", "2024-04-06T14:00:00Z", "2024-04-06T14:45:00Z"},
		{"45 1 * * *", "Australia/Lord_Howe", "2024-04-06T14:45:00Z", "2024-04-06T15:15:00Z"}, // half an hour comes twice
		{"15 2 * * *", "Australia/Lord_Howe", "2024-10-05T12:00:00Z", "2024-10-06T15:15:00Z"}, // or not at all
		{"0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2012-12-29T22:00:00Z"},      // a day that was left out
		{"0 9 * * 5", "Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-05T19:00:00Z"},
		{"0 0 29 2 *", "", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
	} {
		s, err := schedule.Parse(c.rule, c.zone)
		require.NoError(t, err, c.rule)
		require.Equal(t, c.next, s.Next(at(t, "2026-01-01T00:00:00Z"), at(t, c.after)).Format(time.RFC3339), "%s in %q after %s", c.rule,
			c.zone, c.after)
	}
}

func TestRule_NextTimesRiseAndAnIntervalNeverDrifts(t *testing.T) {
	t.Parallel()
	anchor := at(t, "2026-01-01T00:00:03Z")
	for _, rule := range []string{"every 7s", "every 1s", "*/5 * * * *", "0 0 29 2 *", "30 1 * * 0"} {
		s, err := schedule.Parse(rule, "America/New_York")
		require.NoError(t, err)
		before := at(t, "2026-10-31T23:59:59Z")
		for _, next := range s.NextTimes(anchor, before, 200) {
			require.True(t, next.After(before), "%s: %s after %s", rule, next, before)
			before = next
		}
	}
	s, err := schedule.Parse("every 7s", "")
	require.NoError(t, err)
	late := anchor.Add(700*time.Second + 123*time.Millisecond)
	require.Equal(t, anchor.Add(707*time.Second), s.Next(anchor, late))
}

func TestRule_ABadRuleIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	for rule, zone := range map[string]string{"": "", "every": "", "every 0s": "", "every 500ms": "", "every -1h": "",
		"every 87601h": "", "* * * *": "", "61 * * * *": "",
		"0 9 * * ,": "", ", 9 * * *": "", "0 9,,10 * * *": "", "0 9 * * 1,": "",
		"CRON_TZ=UTC * * * * *": "", "@every 1h": "", "* * * * *": "Mars/Olympus", "0 0 * * *": "Local"} {
		_, err := schedule.Parse(rule, zone)
		require.ErrorContains(t, err, " is not a ", "%q", rule)
	}
	s, err := schedule.Parse("0 0 30 2 *", "")
	require.NoError(t, err)
	require.Empty(t, s.NextTimes(time.Now(), time.Now(), 5), "30 February never comes")
}

func TestRule_SundayIsSevenToo(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC) // a Monday
	for rule, want := range map[string]string{
		"0 9 * * 7": "Sun Sun", "0 9 * * 5-7": "Fri Sat Sun Fri", "0 9 * * 1-5,7": "Mon Tue Wed Thu Fri Sun",
		"0 9 * * 1-7/2": "Mon Wed Fri Sun", "0 9 * * fri-sun": "Fri Sat Sun Fri", "0 9 * * 6-SUN,3": "Wed Sat Sun",
		"0 9 * * MON-sun/3": "Mon Thu Sun", "0 9 * * 0-7": "Mon Tue Wed Thu Fri Sat Sun", "0 9 * * SUN": "Sun", "0 9 * * 0": "Sun",
	} {
		s, err := schedule.Parse(rule, "")
		require.NoError(t, err, rule)
		var days []string
		for _, at := range s.NextTimes(from, from, len(strings.Fields(want))) {
			days = append(days, at.Format("Mon"))
		}
		require.Equal(t, want, strings.Join(days, " "), rule)
	}
	for _, rule := range []string{"0 9 * * 8", "0 9 * * 6-8", "0 9 * * 7-5", "0 9 * * -7", "0 9 * * 1-7/0", "0 9 * * sat-mon",
		"0 9 * * 5-0", "0 9 * * x-sun"} {
		_, err := schedule.Parse(rule, "")
		require.Error(t, err, rule)
	}
}

// FuzzParse checks that each rule is refused with a sentence, or has times that rise.
func FuzzParse(f *testing.F) {
	for _, rule := range []string{"every 10m", "every 1h 30m", "every 87600h", "every 870000h", "30 9 * * 1-5",
		"0 9 * * 5-7", "0 9 * * 1-7/2",
		"@daily", "0 0 29 2 *", "0 0 30 2 *",
		"*/0 * * * *", "30 2 * * *", "@every 1h", "TZ=UTC * * * * *", "0 9 ? * SUN,7",
		"1-7/9223372036854775807 * * * 1-7/9223372036854775807", "@"} {
		f.Add(rule, "Europe/Berlin")
	}
	f.Add("0 0 * * *", "America/Sao_Paulo")
	f.Add("* * * * *", "../etc/passwd")
	anchor := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, rule, zone string) {
		s, err := schedule.Parse(rule, zone)
		if err != nil {
			require.ErrorContains(t, err, " is not a ")
			return
		}
		before := anchor
		for _, next := range s.NextTimes(anchor, anchor, 3) {
			require.True(t, next.After(before), "%s after %s", next, before)
			before = next
		}
	})
}
