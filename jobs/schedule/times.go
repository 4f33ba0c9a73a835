package schedule

import "time"

// Times are the times of a schedule: those of its rule between its start and its end.
type Times struct {
	rule         Rule
	anchor       time.Time
	starts, ends *time.Time
}

// NewTimes returns the times of a rule. Intervals are counted from the start, or else from anchor. starts and ends may be
// nil. The error is that of Parse.
func NewTimes(rule, zone string, anchor time.Time, starts, ends *time.Time) (Times, error) {
	parsed, err := Parse(rule, zone)
	if err != nil {
		return Times{}, err
	}
	if starts != nil {
		anchor = starts.Add(-parsed.every) // an interval comes at the start itself
	}
	return Times{parsed, anchor, starts, ends}, nil
}

// Times returns the times at which the schedule fires while it is not paused.
func (s Schedule) Times() (Times, error) {
	return NewTimes(s.Rule, s.Zone, s.Anchor, s.StartsAt, s.EndsAt)
}

// Next returns the first time after t, or the zero time if there is none.
func (ts Times) Next(t time.Time) time.Time {
	if ts.starts != nil && t.Before(*ts.starts) {
		t = ts.starts.Add(-1)
	}
	next := ts.rule.Next(ts.anchor, t)
	if ts.ends != nil && next.After(*ts.ends) {
		return time.Time{}
	}
	return next
}

// NextTimes returns the next n times after t, or fewer if there are no more.
func (ts Times) NextTimes(t time.Time, n int) (list []time.Time) {
	for range n {
		if t = ts.Next(t); t.IsZero() {
			break
		}
		list = append(list, t)
	}
	return list
}

// Between returns the times after from up to to, at most the first n.
func (ts Times) Between(from, to time.Time, n int) (list []time.Time) {
	for t := ts.Next(from); !t.IsZero() && !t.After(to) && len(list) < n; t = ts.Next(t) {
		list = append(list, t)
	}
	return list
}

// Newest returns the first of the newest n times up to now, or first if there are not more since then.
func (ts Times) Newest(first, now time.Time, n int) time.Time {
	// No rule has more times than one each second: a window of n seconds has at most n.
	for window := time.Duration(n) * time.Second; ; window *= 2 {
		from := now.Add(-window)
		if from.Before(first) {
			from = first.Add(-1)
		}
		list := ts.Between(from, now, 2*n)
		switch {
		case len(list) > n:
			return list[len(list)-n]
		case from.Before(first):
			return first
		}
	}
}
