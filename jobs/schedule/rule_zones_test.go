package schedule_test

import (
	"archive/zip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/schedule"
)

// zoneYears is the number of years before 2025 whose changes of clocks are tested: one, unless
// ZONE_YEARS says otherwise. Ten take ten seconds of processor.
func zoneYears(t *testing.T) int {
	t.Helper()
	years, err := strconv.Atoi(os.Getenv("ZONE_YEARS"))
	if err != nil {
		return 1
	}
	return years
}

// zones returns every zone of Go's copy of the tz database.
func zones(t *testing.T) (list []*time.Location) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	files, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	require.NoError(t, err)
	defer func() { _ = files.Close() }()
	for _, f := range files.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		zone, err := time.LoadLocation(f.Name)
		require.NoError(t, err)
		list = append(list, zone)
	}
	return list
}

// changes returns when the clocks of a zone change from one time to another, and what identifies
// all zones whose clocks go alike.
func changes(zone *time.Location, from, to time.Time) (list []time.Time, alike string) {
	_, offset := from.In(zone).Zone()
	alike = fmt.Sprint(offset)
	for at := from; at.Before(to); at = at.Add(30 * time.Minute) {
		if _, now := at.In(zone).Zone(); now != offset {
			list, offset = append(list, at), now
			alike += fmt.Sprint(" ", at.Unix(), offset)
		}
	}
	return list, alike
}

// minute is a minute on the clocks of a zone.
type minute struct {
	at                         time.Time
	minute, hour, day, weekday int
	month                      time.Month
}

func minutes(zone *time.Location, from, to time.Time) []minute {
	list := make([]minute, 0, int(to.Sub(from).Minutes()))
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		local := at.In(zone)
		_, month, day := local.Date()
		list = append(list, minute{at, local.Minute(), local.Hour(), day, int(local.Weekday()), month})
	}
	return list
}

// matches is the meaning of a rule, in the simplest words. Where a rule limits both day and weekday,
// one of them is enough.
type matches func(minute) bool

// fieldOf returns what a field of a rule allows: *, */n, a, a-b, a,b.
func fieldOf(t *testing.T, text string) func(int) bool {
	t.Helper()
	if n, stepped := strings.CutPrefix(text, "*/"); stepped {
		step, err := strconv.Atoi(n)
		require.NoError(t, err)
		return func(v int) bool { return v%step == 0 }
	}
	if text == "*" {
		return func(int) bool { return true }
	}
	var allowed []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		require.NoError(t, err)
		high := low
		if ranged {
			high, err = strconv.Atoi(last)
			require.NoError(t, err)
		}
		for v := low; v <= high; v++ {
			allowed = append(allowed, v)
		}
	}
	return func(v int) bool { return slices.Contains(allowed, v) }
}

func matchesOf(t *testing.T, rule string) matches {
	t.Helper()
	f := strings.Fields(rule)
	mins, hour, day, month, weekday := fieldOf(t, f[0]), fieldOf(t, f[1]), fieldOf(t, f[2]), fieldOf(t, f[3]), fieldOf(t, f[4])
	either := f[2] != "*" && f[4] != "*"
	return func(m minute) bool {
		if !mins(m.minute) || !hour(m.hour) || !month(int(m.month)) {
			return false
		}
		if either {
			return day(m.day) || weekday(m.weekday)
		}
		return day(m.day) && weekday(m.weekday)
	}
}

// A schedule comes true in each minute that fits its rule on the clocks of its zone, and in no
// other, also around every change of the clocks.
func TestRule_ComesTrueInEachMinuteThatFitsAndInNoOtherInEveryZone(t *testing.T) {
	t.Parallel()
	const around = 21 * 24 * time.Hour
	rules := []string{"30 2 * * *", "0 0 * * *", "0 9 * * 5", "15 0,1,23 * * 0", "*/20 0-3 * * *", "0 */6 * * *", "59 23 * * 6",
		"0 0 * * 1", "30 1 13 * 5", "0 12 1,15 * *", "45 1,2 28-31 3,10 *"}
	fits := make([]matches, len(rules))
	for i, rule := range rules {
		fits[i] = matchesOf(t, rule)
	}
	to := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	from := to.AddDate(-zoneYears(t), 0, 0)
	seen, all, changed, compared := map[string]bool{}, 0, 0, 0
	for _, zone := range zones(t) {
		all++
		list, alike := changes(zone, from, to)
		if seen[alike] {
			continue
		}
		seen[alike] = true
		for _, change := range list {
			changed++
			span := minutes(zone, change.Add(-around/2), change.Add(around/2))
			for i, rule := range rules {
				s, err := schedule.Parse(rule, zone.String())
				require.NoError(t, err)
				compared += compare(t, s, rule, zone, span, fits[i])
			}
		}
	}
	t.Logf("%d zones, %d of them different, %d changes of clocks, %d times", all, len(seen), changed, compared)
}

// compare compares the times of a schedule with the minutes of the span that fit, and returns how
// many there are.
func compare(t *testing.T, s schedule.Rule, rule string, zone *time.Location, span []minute, fits matches) (n int) {
	t.Helper()
	at := span[0].at.Add(-time.Nanosecond)
	for _, m := range span {
		if !fits(m) {
			continue
		}
		n++
		if at = s.Next(at, at); !at.Equal(m.at) {
			t.Fatalf("%q in %s: %s comes, not %s", rule, zone, at.In(zone), m.at.In(zone))
		}
	}
	if end := span[len(span)-1].at; !s.Next(at, at).After(end) {
		t.Fatalf("%q in %s: %s comes after %s", rule, zone, s.Next(at, at).In(zone), at.In(zone))
	}
	return n
}
