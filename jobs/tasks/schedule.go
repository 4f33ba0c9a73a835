package tasks

import (
	"fmt"
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
	if zone == "" {
		zone = "UTC"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return Schedule{}, fmt.Errorf("%q is not a known time zone: write it as Europe/Berlin, or UTC", zone)
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
	if s.cron, err = cron.ParseStandard(rule); err != nil {
		return s,
			fmt.Errorf("%q is not a valid rule: write it as every 10m, or as five fields of cron such as 30 9 * * 1-5 (minute, hour, day, "+
				"month, weekday)", rule)
	}
	return s, nil
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
