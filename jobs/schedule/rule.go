package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// The shortest and the longest interval of a schedule. Durations end at 292 years, and Next adds to them.
const (
	shortest = time.Second
	longest  = 10 * 365 * 24 * time.Hour
)

// Rule is a rule for recurring times: a cron expression or an interval, in a time zone.
type Rule struct {
	zone  *time.Location
	every time.Duration // 0: by cron
	cron  cron.Schedule
}

// Parse parses a rule: a cron expression of five fields ("30 9 * * 1-5", "@daily") or an
// interval ("every 10m", "every 1h30m"). Cron expressions apply in the time zone (an IANA name,
// UTC if empty): a time that the zone leaves out when its clocks go forward is skipped, and one
// that it repeats when they go back comes twice.
func Parse(rule, zone string) (Rule, error) {
	loc, err := LoadZone(zone)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{zone: loc}
	rule = strings.TrimSpace(rule)
	if text, ok := strings.CutPrefix(rule, "every "); ok {
		r.every, err = time.ParseDuration(strings.ReplaceAll(text, " ", ""))
		if err != nil || r.every < shortest || r.every > longest {
			return r, fmt.Errorf("%q is not a valid interval. Use every 10m or every 1h30m, from every 1s to every 87600h", rule)
		}
		return r, nil
	}
	if strings.Contains(rule, "TZ=") || strings.HasPrefix(rule, "@every") {
		return r, fmt.Errorf("%q is not a valid rule. Use every 10m for an interval, and give the time zone by itself", rule)
	}
	r.cron, err = cron.ParseStandard(sundayAsZero(rule))
	if err != nil || slices.ContainsFunc(strings.Fields(rule), lacksValue) {
		return r, fmt.Errorf("%q is not a valid rule. Use every 10m, or five fields of cron (minute, hour, day, month, weekday) such as "+
			"30 9 * * 1-5", rule)
	}
	return r, nil
}

// lacksValue reports whether a list in a field of a rule has an empty place. The cron library takes a
// field without any value for one that never matches.
func lacksValue(field string) bool { return strings.Contains(","+field+",", ",,") }

// LoadZone returns the time zone of that IANA name, UTC if it is empty. The error is a sentence for the user.
func LoadZone(zone string) (*time.Location, error) {
	zone = strings.TrimSpace(zone)
	loc, err := time.LoadLocation(cmp.Or(zone, "UTC"))
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("%q is not a known time zone. Use a name such as Europe/Berlin, or UTC", zone)
	}
	return loc, nil
}

// sundayAsZero writes the weekdays of a rule as the cron library takes them: many crons take 7 for
// Sunday, too, alone ("7") and as the end of a range ("5-7", "FRI-SUN", "1-7/2").
func sundayAsZero(rule string) string {
	fields := strings.Fields(rule)
	if len(fields) != 5 {
		return rule
	}
	days := strings.Split(fields[4], ",")
	for i, part := range days {
		span, stepText, stepped := strings.Cut(part, "/")
		firstText, lastText, ranged := strings.Cut(span, "-")
		if !ranged {
			lastText = firstText
		}
		first, err1 := weekday(firstText)
		last, err2 := weekday(lastText)
		step := 1
		var err3 error
		if stepped {
			step, err3 = strconv.Atoi(stepText)
		}
		if ranged && strings.EqualFold(lastText, "sun") {
			last = 7
		}
		if err1 != nil || err2 != nil || err3 != nil || last != 7 || first < 0 || first > 7 || step < 1 {
			continue
		}
		var single []string
		for day := first; day <= last; day += step {
			single = append(single, strconv.Itoa(day%7))
		}
		days[i] = strings.Join(single, ",")
	}
	fields[4] = strings.Join(days, ",")
	return strings.Join(fields, " ")
}

// weekday returns the number of a weekday that is written as a number or as a name.
func weekday(text string) (int, error) {
	if i := slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, strings.ToLower(text)); i >= 0 {
		return i, nil
	}
	return strconv.Atoi(text)
}

// Next returns the first time after t. Intervals are counted from anchor. If the rule never
// matches (30 February), Next returns the zero time.
func (r Rule) Next(anchor, t time.Time) time.Time {
	if r.every > 0 {
		if t.Before(anchor) {
			return anchor.Add(r.every).UTC()
		}
		return anchor.Add(t.Sub(anchor).Truncate(r.every) + r.every).UTC()
	}
	return r.nextByCron(t)
}

const (
	cronReach = 5  // years that the cron library looks ahead
	cronYears = 20 // more than between two runs of a rule that ever matches: twice eight, around 29 February 2100
)

// nextByCron asks the cron library about one period of the zone after another. Within a period the
// clocks run evenly, as the library needs it: over a change of the clocks it skips times that match
// and returns others that do not.
func (r Rule) nextByCron(t time.Time) time.Time {
	for limit := t.AddDate(cronYears, 0, 0); t.Before(limit); {
		local := t.Add(1).In(r.zone) // the first time to consider
		_, end := local.ZoneBounds()
		if !end.IsZero() && !end.After(local) { // so says Go of 31 December of leap years after 2037
			end = local.Add(time.Hour)
		}
		if reach := t.AddDate(cronReach, 0, 0); end.IsZero() || end.After(reach) {
			end = reach
		}
		name, offset := local.Zone()
		if next := r.cron.Next(t.In(time.FixedZone(name, offset))); !next.IsZero() && next.Before(end) {
			return next.UTC()
		}
		t = end.Add(-1)
	}
	return time.Time{}
}

// NextTimes returns the next n times after t, or fewer if the rule never matches.
func (r Rule) NextTimes(anchor, t time.Time, n int) []time.Time {
	var times []time.Time
	for range n {
		if t = r.Next(anchor, t); t.IsZero() {
			break
		}
		times = append(times, t)
	}
	return times
}
