// Package views holds the pages: x.templ is the markup, x.go the view model.
package views

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/views/ui"
)

// htmxConfig is htmx's configuration. No injected style (the page's policy
// forbids it), Back loads a whole page, and a lost live connection is sought
// again within seconds. What warren.js writes on elements survives a morph.
const htmxConfig = `{"includeIndicatorCSS":false,"history":"reload","defaultTimeout":15000,` +
	`"morphIgnore":["data-htmx-powered","data-js-"],` +
	`"sse":{"reconnectDelay":500,"reconnectMaxDelay":5000}}`

// CSP is the policy that the pages keep: nothing inline, nothing foreign, and no frame around them.
const CSP = cspInside + "; frame-ancestors 'none'"

const cspInside = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'"

// CSPFramed is CSP where pages of these origins may show ours in a frame.
func CSPFramed(ancestors string) string { return cspInside + "; frame-ancestors " + ancestors }

const readOnlyMeans = "You can look at everything here and change nothing"

// Page is what the frame around every page needs.
type Page struct {
	Title   string          // in the tab and as the heading
	Lead    string          // one line: what this page shows
	Fresh   time.Time       // when the numbers were taken; ticks in the lead
	Badge   templ.Component // beside the heading, for instance a job's state
	Actions templ.Component // at the right of the heading

	Nav    []Nav
	Path   string // of this page with its query, for forms that come back to it
	Search string // what the search box holds

	Env     Env
	Health  []Pill
	Theme   string // "light", "dark" or "" for what the system says; cookie theme
	UTC     bool   // show times in UTC, not in the browser's zone; cookie tz=utc
	Account string // who is signed in; nothing is shown when empty
	SignOut bool   // and can sign out here
	Flash   []ui.FlashProps

	Topics []string // of the page's live connection; none = no connection
	Charts bool     // the page has charts
}

// Nav is an entry of the rail.
type Nav struct {
	ID     string // stable: names the live count
	Label  string
	Href   string
	Icon   string
	Key    string // g then Key goes there
	Count  int64  // what asks for attention; not shown when 0
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
	Limited PillState = "limited" // well, but it cannot be watched
	Down    PillState = "down"
	Unasked PillState = "unknown" // not asked yet, or not configured
)

// Pill is the health of one part of the system.
type Pill struct {
	Name  string // Database
	Icon  string // database
	State PillState
	Note  string    // "1.2 s", "2 of 3 lost"; shown when not ok
	Last  time.Time // last good answer
	Why   string    // sentences: what is wrong and what to do; "" when nobody said
}

func (p Pill) title() string {
	t := p.Name + ": " + string(p.State)
	if p.Why != "" {
		t += ". " + p.Why
	}
	return t
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

// tabTitle begins with what asks for attention: (3) Jobs · Warren.
func (p Page) tabTitle() string {
	t := p.Title + " · Warren"
	if n := attention(p.Nav); n > 0 {
		t = "(" + ui.Short(n) + ") " + t
	}
	return t
}

// liveURL tells when the page was rendered, so that what changed before the connection stood is told too.
func (p Page) liveURL(ctx context.Context) string {
	return string(ui.At(ctx, "/live?rendered="+millis(ui.Now(ctx))+"&topics="+url.QueryEscape(strings.Join(p.Topics, ","))))
}

func attention(nav []Nav) (n int64) {
	for _, e := range nav {
		n += e.Count
	}
	return n
}

func asset(ctx context.Context, name string) string { return string(ui.At(ctx, static.URL(name))) }

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
