package views

import (
	"cmp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views/ui"
)

// SchedulesModel is the list of schedules.
type SchedulesModel struct {
	URL   string // of exactly this list, for the live update
	Text  string
	Clear string // link without the filter; "" if there is none
	Zones []ui.Option
	Rows  []ScheduleRow
	Pager ui.PagerProps
	Empty ui.EmptyProps
}

// ScheduleRow is a schedule in the list.
type ScheduleRow struct {
	ID     string
	Href   string
	Name   string
	OfTask bool
	Rule   string // in words
	Does   string // the kind or the routing key
	Where  string // the queue or the exchange
	Next   ZonedTime
	State  ScheduleState
	Last   *schedule.Firing
}

// ScheduleState is what keeps a schedule from firing; the zero value if nothing does.
type ScheduleState struct {
	Word  string
	Color string // the state whose colour it has
	Icon  string
	Why   string // a sentence; "" if the word says it
}

// ZonedTime is a time and how the clocks of a zone show it.
type ZonedTime struct {
	time.Time
	Text string
}

// zoned writes a time of a rule on the clocks of a zone: today's without the date. Intervals have seconds; the year is shown
// where it is not clear.
func zoned(at time.Time, rule string, zone *time.Location, now time.Time) ZonedTime {
	if at.IsZero() {
		return ZonedTime{}
	}
	layout := "Mon 2 Jan 15:04"
	switch {
	case sameDay(at.In(zone), now.In(zone)):
		layout = "15:04"
	case at.Sub(now).Abs() > 300*24*time.Hour:
		layout = "Mon 2 Jan 2006 15:04"
	}
	if strings.HasPrefix(rule, "every ") || at.Second() != 0 {
		layout += ":05"
	}
	return ZonedTime{at, at.In(zone).Format(layout + " MST")}
}

func sameDay(a, b time.Time) bool { return a.Format(time.DateOnly) == b.Format(time.DateOnly) }

// NewSchedulesModel shapes a page of the list. zone is the zone in which next times are shown; nil: that of each schedule.
func NewSchedulesModel(
	page jobs.Page[schedule.Schedule], f schedule.Filter, zone *time.Location, cursor jobs.Cursor, now time.Time,
) SchedulesModel {
	url := func(c jobs.Cursor) string { return schedulesURL(f, zone, c) }
	m := SchedulesModel{URL: url(cursor), Text: f.Text, Zones: zoneOptions("Own time zones", zone),
		Pager: pagerOf(page, cursor, url)}
	for _, s := range page.Items {
		m.Rows = append(m.Rows, NewScheduleRow(s, zone, now))
	}
	m.Pager.Info = shown(len(m.Rows), "problems first, then by name; task schedules last, oldest first")
	m.Pager.Order = ui.ByValue
	m.Empty = ui.EmptyProps{Icon: "schedules", Title: "No schedules yet", Action: NewScheduleButton(),
		Hint: "A schedule enqueues a job or publishes an event by a rule. Write one here, with warren schedules add, through the API, " +
			"or in your Go code."}
	if f.Text != "" {
		m.Clear = schedulesURL(schedule.Filter{}, zone, jobs.Cursor{})
		m.Empty = ui.EmptyProps{Icon: "schedules", Title: "No matching schedules", Clear: m.Clear,
			Hint: "No name, kind or routing key has this text."}
	}
	return m
}

func schedulesURL(f schedule.Filter, zone *time.Location, c jobs.Cursor) string {
	return withQuery("/schedules", map[string]string{"q": f.Text, "zone": zoneName(zone), "cursor": c.String()})
}

func zoneName(zone *time.Location) string {
	if zone == nil {
		return ""
	}
	return zone.String()
}

func zoneOptions(own string, zone *time.Location) []ui.Option {
	return options(own, zones, zoneName(zone))
}

// zoneOfSchedule returns the zone in which the times of a schedule are shown.
func zoneOfSchedule(s schedule.Schedule, chosen *time.Location) *time.Location {
	if chosen != nil {
		return chosen
	}
	own, err := schedule.LoadZone(s.Zone)
	if err != nil {
		return time.UTC
	}
	return own
}

// NewScheduleRow shapes a schedule for the list.
func NewScheduleRow(s schedule.Schedule, zone *time.Location, now time.Time) ScheduleRow {
	r := ScheduleRow{ID: s.ID.String(), Href: ScheduleURL(s.ID), Name: ScheduleTitle(s), OfTask: s.Task != nil,
		Rule: schedule.Words(s.Rule, s.Zone), State: stateOfSchedule(s, now), Last: s.Last,
		Next: zoned(orZero(s.NextAt), s.Rule, zoneOfSchedule(s, zone), now)}
	if s.Problem != "" {
		r.Next = ZonedTime{} // it is when to try again
	}
	if s.Event != nil {
		r.Does, r.Where = s.Event.Key, "to "+s.Event.Exchange
	} else {
		r.Does, r.Where = s.Job.Kind, "in "+s.Job.Queue
	}
	return r
}

// ScheduleURL is the page of a schedule.
func ScheduleURL(id uuid.UUID) string { return "/schedules/" + id.String() }

// ScheduleTitle names a schedule: one of a task has the name of the task.
func ScheduleTitle(s schedule.Schedule) string {
	if s.Task != nil {
		return oneLine(TaskTitle(s.Task.Description))
	}
	return s.Name
}

// ScheduleLead says when a schedule fires and what it does then.
func ScheduleLead(s schedule.Schedule) string {
	when := AsSentence(schedule.Words(s.Rule, s.Zone))
	if s.Event != nil {
		return when + " Publishes " + s.Event.Key + "."
	}
	return when + " Enqueues " + s.Job.Kind + "."
}

func stateOfSchedule(s schedule.Schedule, now time.Time) ScheduleState {
	switch {
	case s.Problem != "":
		return ScheduleState{"cannot fire", "dead", "alert", AsSentence(s.Problem) + " It is tried again every minute."}
	case s.PausedAt != nil:
		return ScheduleState{"paused", "retrying", "pause", pausedWords(s)}
	case s.NextAt == nil && s.EndsAt != nil && s.EndsAt.Before(now):
		return ScheduleState{"ended", "cancelled", "cancelled", ""}
	case s.NextAt == nil:
		return ScheduleState{"never fires", "retrying", "alert", neverFires}
	}
	return ScheduleState{}
}

// pausedWords says who paused a schedule, and why.
func pausedWords(s schedule.Schedule) string {
	words := "Paused by " + s.PausedBy
	if s.PausedReason != "" {
		words += ": " + oneLine(s.PausedReason)
	}
	return words
}

// ScheduleModel is the page of one schedule.
type ScheduleModel struct {
	schedule.Schedule
	URL     string
	Here    string // URL with the page of its history
	Title   string
	State   ScheduleState
	Clocks  *time.Location // that the times are shown on
	Zones   []ui.Option
	Next    []ZonedTime
	NextWhy string // why there are none
	History []schedule.Firing
	Pager   ui.PagerProps
	Shown   bool // the reader may see args and bodies
}

// FiringsShown is how many firings the page of a schedule lists.
const FiringsShown = 25

// NewScheduleModel shapes a schedule with a page of its history.
func NewScheduleModel(
	s schedule.Schedule, history jobs.Page[schedule.Firing], zone *time.Location, cursor jobs.Cursor, now time.Time,
) ScheduleModel {
	m := ScheduleModel{Schedule: s, URL: ScheduleURL(s.ID), Title: ScheduleTitle(s), State: stateOfSchedule(s, now),
		Clocks: zoneOfSchedule(s, zone), Zones: zoneOptions("Own time zone", zone), History: history.Items}
	here := func(c jobs.Cursor) string {
		return withQuery(m.URL, map[string]string{"zone": zoneName(zone), "cursor": c.String()})
	}
	m.Here, m.Pager = here(cursor), pagerOf(history, cursor, here)
	m.Pager.Info = shown(len(m.History), "newest first")
	m.Next, m.NextWhy = m.nextTimes(now)
	return m
}

func (m ScheduleModel) nextTimes(now time.Time) (list []ZonedTime, why string) {
	times, err := m.Times()
	switch {
	case m.Problem != "":
		return nil, m.State.Why
	case err != nil:
		return nil, err.Error()
	case m.PausedAt != nil:
		why = "It does not fire while it is paused."
		if list = m.zonedTimes(times.NextTimes(now, fireTimesShown), now); len(list) > 0 {
			why += " If it is resumed now, its next times are:"
		}
		return list, why
	case m.NextAt == nil:
		return nil, cmp.Or(m.State.Why, "It has ended.")
	}
	next := append([]time.Time{*m.NextAt}, times.NextTimes(latest(*m.NextAt, now), fireTimesShown-1)...)
	return m.zonedTimes(next, now), ""
}

func (m ScheduleModel) zonedTimes(times []time.Time, now time.Time) (list []ZonedTime) {
	for _, at := range times {
		list = append(list, zoned(at, m.Rule, m.Clocks, now))
	}
	return list
}

// zonedTime writes a time on the clocks that the page shows.
func (m ScheduleModel) zonedTime(at time.Time, now time.Time) string {
	return zoned(at, m.Rule, m.Clocks, now).Text
}

// missedSentence names the times that a firing stands for or that were skipped.
func (m ScheduleModel) missedSentence(f schedule.Firing, now time.Time) string {
	if f.Missed == 0 {
		return ""
	}
	count := ui.Capped(int64(f.Missed), schedule.CatchUpMost)
	more, why := "more times passed", "while no scheduler ran, skipped by its policy"
	if f.Missed == 1 {
		more = "more time passed"
	}
	if f.Outcome == schedule.Paused {
		why = "while it was paused"
	}
	span := "at " + m.zonedTime(*f.MissedFrom, now)
	if f.Missed > 1 {
		span = "from " + m.zonedTime(*f.MissedFrom, now) + " to " + m.zonedTime(*f.MissedTo, now)
	}
	return strings.Join([]string{count, more, span, why}, " ") + "."
}

// overlapWords and catchUpWords say what the policies do.
var (
	overlapWords = map[schedule.Overlap]string{schedule.OverlapSkip: "skips a time while its last job has not ended",
		schedule.OverlapAllow: "may overlap"}
	catchUpWords = map[schedule.CatchUp]string{schedule.CatchUpOnce: "one run for all missed times",
		schedule.CatchUpAll: "a run for each missed time"}
)

// resumeConsequence says what becomes of the times that passed.
func (m ScheduleModel) resumeConsequence(now time.Time) string {
	times, err := m.Times()
	if err != nil || m.PausedAt == nil {
		return "It fires again from its next time on."
	}
	passed := len(times.Between(*m.PausedAt, now, schedule.CatchUpMost+1))
	next := "It does not fire again: its rule has no further time."
	if at := times.Next(now); !at.IsZero() {
		next = "It fires next at " + m.zonedTime(at, now) + "."
	}
	if passed == 0 {
		return "No time has passed since it was paused. " + next
	}
	return ui.Capped(int64(passed), schedule.CatchUpMost) + " " + word(passed, "time has", "times have") +
		" passed since it was paused, and will not be made up. " + next
}

// ruleText is the rule as it was written; "" if its words say the same.
func (m ScheduleModel) ruleText() string {
	if strings.HasPrefix(m.Rule, "every ") {
		return ""
	}
	return m.Rule
}

// lateFrom is the lag from which a firing is marked as late.
const lateFrom = 10 * time.Second
