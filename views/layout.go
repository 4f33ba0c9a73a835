// Package views holds the pages: x.templ is the markup, x.go the view model.
package views

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/views/ui"
)

// htmxConfig configures htmx: it injects no style (which the page's policy forbids), Back loads a
// whole page, and a lost live connection is retried within seconds. Attributes that warren.js sets
// on elements survive a morph.
const htmxConfig = `{"includeIndicatorCSS":false,"history":"reload","defaultTimeout":15000,` +
	`"morphIgnore":["data-htmx-powered","data-js-"],` +
	`"sse":{"reconnectDelay":500,"reconnectMaxDelay":5000}}`

// CSP is the content security policy of the pages: nothing inline, nothing foreign, and no frame
// around them.
const CSP = cspInside + "; frame-ancestors 'none'"

const cspInside = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'"

// CSPFramed is CSP for a dashboard that pages of these origins may show in a frame.
func CSPFramed(ancestors string) string { return cspInside + "; frame-ancestors " + ancestors }

const readOnlyMeans = "You can look at everything here and change nothing"

// Page is the data of the frame around every page.
type Page struct {
	Title   string          // in the tab and as the heading
	Heading templ.Component // instead of Title, where the heading is more than text
	Lead    string          // one line: what this page shows
	About   templ.Component // instead of Lead, where the line is live
	Fresh   time.Time       // when what is shown was true; ticks in the lead
	Badge   templ.Component // beside the heading, for instance a job's state
	Actions templ.Component // at the right of the heading

	Nav    []Nav
	Up     *Nav   // the page above this one, if it is not the rail's entry
	Path   string // of this page with its query, for forms that come back to it
	Search string // what the search box holds

	Env     Env
	Health  []Pill
	Sources Sources
	Mends   bool   // an error page that is loaded again once the database answers
	Refresh bool   // without JavaScript the page is loaded again every few seconds
	Theme   string // "light", "dark" or "" for the system's; cookie theme
	UTC     bool   // show times in UTC, not in the browser's zone; cookie tz=utc
	Account string // who is signed in; nothing is shown when empty
	SignOut bool   // and can sign out here
	Flash   []ui.FlashProps

	Topics []string // of the page's live connection; none = no connection
}

// Nav is an entry of the rail.
type Nav struct {
	ID     string // stable: names the live count
	Label  string
	Href   string
	Icon   string
	Key    string // g then Key goes there
	Count  int64  // what needs attention; not shown when 0
	Counts string // what was counted: "failing"
	Active bool
	Gap    bool // a little space before it
}

// Env names the installation: "production", red.
type Env struct {
	Name  string
	Color string // red, amber, green, blue, violet or grey
}

func (e Env) class() string {
	switch e.Color {
	case "red":
		return "env s-dead"
	case "amber":
		return "env s-retrying"
	case "green":
		return "env s-completed"
	case "blue":
		return "env s-queued"
	case "violet":
		return "env s-scheduled"
	}
	return "env s-cancelled"
}

// PillState is the health of one part.
type PillState string

// The states of a pill.
const (
	OK      PillState = "ok"
	Slow    PillState = "slow"
	Limited PillState = "limited" // it works in part, or cannot be monitored
	Down    PillState = "down"
	Unasked PillState = "unknown" // not asked yet, or not configured
)

// Pill is the health of one part of the system.
type Pill struct {
	Name  string // Database
	Icon  string // database
	State PillState
	Note  string    // "1.2 s", "2 of 3 lost"; shown when not ok
	Since time.Time // of a state other than ok; ticks behind the note
	Why   string    // sentences: what is wrong and what to do; "" when not reported
	Says  string    // in the place of name, state and note, where a few words tell it all
}

// Sources is what the figures of the pages come from.
type Sources struct {
	Broker time.Time // when the broker was last sampled; zero if it never was
	Away   string    // the source that does not answer: SourceDatabase or SourceBroker; "" if both do
	What   string    // "Database down"
	Since  time.Time
}

// The sources. What shows figures of the broker is marked with ui.FromBroker; all else that is live comes from
// the database.
const (
	SourceDatabase = "database"
	SourceBroker   = "broker"
)

// healthLive makes the pills live. They are no region of the page, which is held, dimmed and has an age.
func healthLive(ctx context.Context) templ.Attributes {
	live := ui.Live(ctx, "/health-pills", engine.TopicHealth)
	delete(live, "data-live")
	return live
}

// away returns the source of figures of this page that does not answer.
func (p Page) away() string {
	if p.Sources.Away == SourceBroker && !slices.Contains(p.Topics, engine.TopicQueues) {
		return ""
	}
	return p.Sources.Away
}

func (p Pill) title() string {
	t := p.Name + ": " + string(p.State)
	if p.Why != "" {
		t += ". " + p.Why
	}
	return t
}

// Unconsumed marks the workers as limited: jobs wait in these queues, which have no consumers.
func (p Pill) Unconsumed(queues []string) Pill {
	p.State, p.Says = Limited, plural(len(queues), "queue has", "queues have")+" no consumers"
	p.Why = "Jobs wait without consumers in " + strings.Join(queues[:min(len(queues), 5)], ", ")
	if more := len(queues) - 5; more > 0 {
		p.Why += " and " + ui.Number(int64(more)) + " more"
	}
	return p
}

func (p Pill) icon() string {
	switch p.State {
	case OK:
		return "check"
	case Slow, Limited:
		return "alert"
	case Down:
		return "x"
	}
	return "cancelled"
}

func (p Page) themeAttr() string {
	switch p.Theme {
	case "light", "dark":
		return "warren-" + p.Theme
	}
	return ""
}

// tabTitle begins with the number of things that need attention: (3) Jobs · Warren.
func (p Page) tabTitle() string {
	t := p.Title + " · Warren"
	if n := attention(p.Nav); n > 0 {
		t = "(" + ui.Short(n) + ") " + t
	}
	return t
}

// liveURL carries the time when the page was rendered, so that changes before the connection was
// open are sent too.
func (p Page) liveURL(ctx context.Context) string {
	return string(ui.At(ctx, "/live?rendered="+millis(ui.Now(ctx))+"&topics="+url.QueryEscape(strings.Join(p.Topics, ","))))
}

func attention(nav []Nav) (n int64) {
	for _, e := range nav {
		n += e.Count
	}
	return n
}

// up returns the page above this one: by default the entry of the rail, unless this is its own page.
func (p Page) up() *Nav {
	if p.Up != nil {
		return p.Up
	}
	path, _, _ := strings.Cut(p.Path, "?")
	for i, e := range p.Nav {
		if e.Active && path != e.Href && p.Title != e.Label {
			return &p.Nav[i]
		}
	}
	return nil
}

func asset(ctx context.Context, name string) string { return string(ui.At(ctx, static.URL(name))) }

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// keyGroup is a part of the help on keys.
type keyGroup struct {
	name string
	keys []shortcut
}

// shortcut is what a key does, or several: "g j".
type shortcut struct{ does, keys string }

// keyGroups lists what warren.js takes from the keyboard.
func keyGroups(nav []Nav) []keyGroup {
	to := keyGroup{name: "Go to"}
	for _, e := range nav {
		if e.Key != "" {
			to.keys = append(to.keys, shortcut{e.Label, "g " + e.Key})
		}
	}
	return []keyGroup{to,
		{"List", []shortcut{{"Next, previous row or job", "j k"}, {"Open row", "Enter"}, {"Select row, up to it", "x X"},
			{"Show new rows", "n"}}},
		{"Page", []shortcut{{"Search", "/"}, {"Pause or go live", "p"}, {"Close", "Esc"}, {"This help", "?"}}},
	}
}
