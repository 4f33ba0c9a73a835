package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/schedule"
)

func TestWords_SayWhenAScheduleFires(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"every 10m":             "every 10 minutes",
		"every 1m":              "every minute",
		"every 1h 30m":          "every 1 hour 30 minutes",
		"every 24h":             "every 24 hours",
		"every 1.5s":            "every 1.5 seconds",
		"* * * * *":             "every minute (UTC)",
		"*/5 * * * *":           "every 5 minutes (UTC)",
		"0 * * * *":             "every hour (UTC)",
		"5 * * * *":             "every hour at minute 5 (UTC)",
		"0,30 * * * *":          "every hour at minutes 0 and 30 (UTC)",
		"15 */6 * * *":          "every 6 hours at minute 15 (UTC)",
		"0 9-17 * * 1-5":        "every hour from 09:00 to 17:00, Monday to Friday (UTC)",
		"*/15 9-17 * * MON-fri": "every 15 minutes from 09:00 to 17:45, Monday to Friday (UTC)",
		"30 6 * * *":            "every day at 06:30 (UTC)",
		"30 6,18 * * *":         "every day at 06:30 and 18:30 (UTC)",
		"0,30 9 * * 1":          "every Monday at 09:00 and 09:30 (UTC)",
		"30 9 * * 1-5":          "Monday to Friday at 09:30 (UTC)",
		"0 9 * * 5-7":           "Friday to Sunday at 09:00 (UTC)",
		"0 9 * * 0,6":           "Saturday and Sunday at 09:00 (UTC)",
		"0 9 * * 0-6":           "every day at 09:00 (UTC)",
		"30 6 1 * *":            "on the 1st of every month at 06:30 (UTC)",
		"0 0 1,15 * ?":          "on days 1 and 15 of every month at 00:00 (UTC)",
		"0 0 1 1,7 *":           "on the 1st of January and July at 00:00 (UTC)",
		"0 12 24 dec *":         "every year on 24 December at 12:00 (UTC)",
		"0 8 * 6-8 1":           "every Monday in June to August at 08:00 (UTC)",
		"@daily":                "every day at 00:00 (UTC)",
		"@weekly":               "every Sunday at 00:00 (UTC)",
		"@monthly":              "on the 1st of every month at 00:00 (UTC)",
		// No short sentence would be true.
		"*/7 * * * *":       "cron */7 * * * * (UTC)",
		"0 0 13 * 5":        "cron 0 0 13 * 5 (UTC)",
		"5 4 */3 * *":       "cron 5 4 */3 * * (UTC)",
		"0 9 */2 * 1":       "cron 0 9 */2 * 1 (UTC)",
		"0 1,3,5,7,9 * * *": "cron 0 1,3,5,7,9 * * * (UTC)",
	} {
		_, err := schedule.Parse(rule, "")
		require.NoError(t, err, rule)
		require.Equal(t, want, schedule.Words(rule, ""), rule)
	}
	require.Equal(t, "every day at 06:30 (Europe/Berlin)", schedule.Words("30 6 * * *", "Europe/Berlin"))
}

// What reads the same fires at the same times.
func TestWords_TellRulesThatDifferApart(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	times := map[string][]time.Time{}
	rules := 0
	for _, minute := range []string{"*", "0", "7", "*/5", "*/20", "*/40", "0,30", "0-59", "0-4"} {
		for _, hour := range []string{"*", "0", "9", "*/2", "*/5", "6,18", "9-17", "0-23", "6,7"} {
			for _, day := range []string{"*", "?", "1", "1,15", "1-31", "*/2", "5-7"} {
				for _, month := range []string{"*", "1", "jan", "3-5", "1,7", "1-12"} {
					for _, weekday := range []string{"*", "0", "7", "1-5", "mon", "5-7", "sat,sun", "0-6", "*/2"} {
						rule := strings.Join([]string{minute, hour, day, month, weekday}, " ")
						parsed, err := schedule.Parse(rule, "")
						require.NoError(t, err, rule)
						words := schedule.Words(rule, "")
						if strings.HasPrefix(words, "cron ") {
							continue
						}
						rules++
						next := parsed.NextTimes(from, from, 40)
						if before, ok := times[words]; ok {
							require.Equal(t, before, next, "%s: %s", words, rule)
						}
						times[words] = next
					}
				}
			}
		}
	}
	require.Greater(t, rules, 1000)
}
