package tasks

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// shortest is the shortest interval of a schedule.
const shortest = time.Second

// Schedule is a rule for recurring times: a cron expression or an interval.
type Schedule struct {
	zone  *time.Location
	every time.Duration // 0: by cron
	cron  cron.Schedule
}

// ParseSchedule parses a rule: a cron expression of five fields ("30 9 * * 1-5", "@daily") or an
// interval ("every 10m", "every 1h30m"). Cron expressions apply in the time zone (an IANA name,
// UTC if empty); a time that does not exist because daylight saving time begins is skipped.
func ParseSchedule(rule, zone string) (Schedule, error) {
	loc, err := loadZone(zone)
	if err != nil {
		return Schedule{}, err
	}
	s := Schedule{zone: loc}
	rule = strings.TrimSpace(rule)
	if text, ok := strings.CutPrefix(rule, "every "); ok {
		s.every, err = time.ParseDuration(strings.ReplaceAll(text, " ", ""))
		if err != nil || s.every < shortest {
			return s, fmt.Errorf("%q is not a valid interval: write it as every 10m or every 1h30m, and at least every 1s", rule)
		}
		return s, nil
	}
	if strings.Contains(rule, "TZ=") || strings.HasPrefix(rule, "@every") {
		return s, fmt.Errorf("%q is not a valid rule: write every 10m for an interval, and give the time zone by itself", rule)
	}
	if s.cron, err = cron.ParseStandard(sundayAsZero(rule)); err != nil {
		return s,
			fmt.Errorf("%q is not a valid rule: write it as every 10m, or as five fields of cron such as 30 9 * * 1-5 (minute, hour, day, "+
				"month, weekday)", rule)
	}
	return s, nil
}

func loadZone(zone string) (*time.Location, error) {
	loc, err := time.LoadLocation(cmp.Or(zone, "UTC"))
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("%q is not a known time zone: write it as Europe/Berlin, or UTC", zone)
	}
	return loc, nil
}

// sundayAsZero writes the weekdays of a rule as the cron library takes them: many crons take 7 for
// Sunday, too, alone ("7") and as the end of a range ("5-7", "1-7/2").
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
		first, err1 := strconv.Atoi(firstText)
		last, err2 := strconv.Atoi(lastText)
		step := 1
		var err3 error
		if stepped {
			step, err3 = strconv.Atoi(stepText)
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

// Next returns the first time after t. Intervals are counted from anchor. If the rule never
// matches (30 February), Next returns the zero time.
func (s Schedule) Next(anchor, t time.Time) time.Time {
	if s.every > 0 {
		if t.Before(anchor) {
			return anchor.Add(s.every).UTC()
		}
		return anchor.Add(t.Sub(anchor).Truncate(s.every) + s.every).UTC()
	}
	next := s.cron.Next(t.In(s.zone))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// NextTimes returns the next n times after t, or fewer if the rule never matches.
func (s Schedule) NextTimes(anchor, t time.Time, n int) []time.Time {
	var times []time.Time
	for range n {
		if t = s.Next(anchor, t); t.IsZero() {
			break
		}
		times = append(times, t)
	}
	return times
}
