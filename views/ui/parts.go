package ui

import (
	"cmp"
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"
)

type nowKey struct{}

// WithNow fixes the time to which relative times refer, so that all those of one page agree and
// tests are deterministic.
func WithNow(ctx context.Context, now time.Time) context.Context {
	return context.WithValue(ctx, nowKey{}, now)
}

// Now returns the time set by WithNow, or the current time.
func Now(ctx context.Context) time.Time {
	if t, ok := ctx.Value(nowKey{}).(time.Time); ok {
		return t
	}
	return time.Now()
}

type readOnlyKey struct{}

// WithReadOnly marks the reader as one who may change nothing: buttons and forms that would write
// are not shown.
func WithReadOnly(ctx context.Context) context.Context {
	return context.WithValue(ctx, readOnlyKey{}, true)
}

// ReadOnly reports whether WithReadOnly marked the reader.
func ReadOnly(ctx context.Context) bool { return ctx.Value(readOnlyKey{}) != nil }

type refusalsKey struct{}

// WithRefusals sets the function that returns, for the path that a form is sent to, why the reader
// may not send it, in a sentence; "" if they may.
func WithRefusals(ctx context.Context, why func(path string) string) context.Context {
	return context.WithValue(ctx, refusalsKey{}, why)
}

// Refused returns why the reader may not send a form to the path, by the function of WithRefusals;
// "" if they may.
func Refused(ctx context.Context, path string) string {
	if why, ok := ctx.Value(refusalsKey{}).(func(string) string); ok && path != "" {
		path, _, _ = strings.Cut(path, "?")
		return why(path)
	}
	return ""
}

// May reports whether the reader may send a form to the path.
func May(ctx context.Context, path string) bool { return !ReadOnly(ctx) && Refused(ctx, path) == "" }

type askedKey struct{}

// WithAsked sets the id of the Confirm that the page opens, as the query parameter "ask" says.
func WithAsked(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, askedKey{}, id)
}

func asked(ctx context.Context) string {
	id, _ := ctx.Value(askedKey{}).(string)
	return id
}

// Live makes an element refetch itself from url, at most once a second, when
// one of the topics arrives on the page's live connection (or when something
// dispatches "refresh" on it). The element must carry an id, and url must
// answer a partial request with that same element. A 4xx or 5xx leaves what is
// shown in place; warren.js marks it stale.
func Live(ctx context.Context, url string, topics ...string) templ.Attributes {
	triggers := make([]string, 0, len(topics)+1)
	for _, t := range topics {
		name, every, _ := strings.Cut(t, "/")
		triggers = append(triggers, name+" from:body throttle:"+cmp.Or(every, "1s"))
	}
	return templ.Attributes{
		"hx-get":        string(At(ctx, url)),
		"hx-trigger":    strings.Join(append(triggers, "refresh"), ", "),
		"hx-swap":       "outerMorph",
		"hx-status:4xx": "swap:none",
		"hx-status:5xx": "swap:none",
		"data-live":     true,
	}
}

// Slowly returns a topic for Live that changes often and rarely concerns the element: it refetches
// itself at once upon the first change, and then at most every 5 s.
func Slowly(topic string) string { return AtMost(topic, "5s") }

// AtMost returns a topic for Live upon which the element refetches itself at once, and then at most once in that time.
func AtMost(topic, once string) string { return topic + "/" + once }

// FromBroker marks an element that shows figures of the broker's last sample. It is dimmed while
// the broker is away, and the page is not said to be fresher than the sample.
func FromBroker(element templ.Attributes) templ.Attributes {
	element["data-source"] = "broker"
	return element
}

// Classes for a column that narrow screens can do without; give the same one
// to the column and to its cells.
const (
	NotPhone    = "max-sm:hidden"
	NotTablet   = "max-md:hidden"
	OnlyDesktop = "max-lg:hidden"
	OnlyWide    = "max-xl:hidden"
)

// Col is one column of a Table.
type Col struct {
	Label  string
	Class  string // r (right), tight, grow, NotPhone …
	Sort   string // link that sorts by this column; none if empty
	Sorted string // "ascending" or "descending" when the table is sorted by it
	Quiet  bool   // the label is for screen readers only
	Zoned  bool   // the label says whose clocks the times are on
}

// TableProps describes a Table.
type TableProps struct {
	Caption string // for screen readers
	Cols    []Col
	Pick    bool // first column is a checkbox for the row; see PickCell
	Fixed   bool // columns have the widths of their classes (w-state, w-when …), whatever the rows hold
}

// Tab is one link of Tabs.
type Tab struct {
	Label  string
	Href   string
	Count  string // already formatted; none if empty
	State  string // a job state: shows its shape
	Active bool
}

// StatProps describes a Stat. Value is already formatted.
type StatProps struct {
	Label string
	Value string
	Unit  string
	Hint  string     // what the number means now: "oldest waits 14 s"
	Since *time.Time // a time at the end of the hint
	Tone  string     // "", "warn" or "bad", for the hint
	Href  string
	Spark []float64 // NaN is a gap
	State string    // a job state's colour for the sparkline; ink if empty
	Scale string    // of the sparkline: "max 3, 15 min"
	Trend string    // the sparkline in words, for screen readers
}

// EmptyProps describes an Empty: what is not there, why, and what to do next.
type EmptyProps struct {
	Icon   string
	Title  string
	Hint   string
	Action templ.Component
	Clear  string // link to the list without its filters; it takes the place of Action
}

// FieldProps describes a form field. The control's id is ID, or Name without one.
type FieldProps struct {
	ID       string
	Name     string
	Label    string
	Help     string
	Error    string
	Required bool
	Note     string // small words beside the label: a type, a default, "optional"
	Zone     string // of a time: whose clocks it is on; the browser may change it
}

func (f FieldProps) id() string {
	if f.ID != "" {
		return f.ID
	}
	return f.Name
}

// Attrs are the attributes that tie a control to its label, help and error.
func (f FieldProps) Attrs() templ.Attributes {
	a := templ.Attributes{"id": f.id(), "name": f.Name}
	switch { // what is wrong takes the place of the help
	case f.Error != "":
		a["aria-invalid"] = "true"
		a["aria-describedby"] = f.id() + "-error"
	case f.Help != "":
		a["aria-describedby"] = f.id() + "-help"
	}
	if f.Required {
		a["required"] = true
	}
	return a
}

// InputProps describes an Input. Type is text if empty.
type InputProps struct {
	FieldProps
	Type        string
	Value       string
	Placeholder string
	Mono        bool
	Attrs       templ.Attributes // more: min, max, step, list, autocomplete
}

// TextareaProps describes a Textarea.
type TextareaProps struct {
	FieldProps
	Value       string
	Placeholder string
	Rows        int
	Mono        bool
}

// Option is one choice of a Select.
type Option struct {
	Value, Label string
	Selected     bool
}

// SelectProps describes a Select.
type SelectProps struct {
	FieldProps
	Options []Option
}

// CheckProps describes a Check, whose value is "true".
type CheckProps struct {
	FieldProps
	Checked bool
}

// Hidden is a value that a form sends along.
type Hidden struct{ Name, Value string }

// ActionProps describes an Action: a button that does something at once.
type ActionProps struct {
	Label   string
	Icon    string
	URL     string
	Hidden  []Hidden
	Why     string // why it cannot act now; shows the button disabled
	Primary bool
	Danger  bool
	Small   bool
	Ghost   bool
}

// ConfirmProps describes a Confirm: a button that shows its consequence and asks before it acts.
// Without JavaScript it is a <details> with a form inside.
type ConfirmProps struct {
	ID          string // unique on the page
	Label       string // "Purge…"
	Icon        string
	Title       string // "Purge emails?"
	Consequence string // "1,204 messages are dropped. This cannot be undone."
	Button      string // names the consequence: "Purge 1,204 messages"
	URL         string
	Hidden      []Hidden
	Reason      string // "", "optional" or "required"; sent as reason
	Note        string // "", or what becomes of a note that may be written; sent as note
	TypeName    string // must be typed to act; sent as confirm, checked by the server too
	Why         string
	Danger      bool
	Primary     bool
	Small       bool
	Ghost       bool
	Left        bool // opens to the right of the button's left edge
}

// dismissLabel is the way out of a confirmation; "Cancel" beside "Cancel the job" could be either.
func (p ConfirmProps) dismissLabel() string {
	if strings.HasPrefix(p.Label, "Cancel") {
		return "Don't cancel"
	}
	return "Cancel"
}

// askedAt returns the path of the page with the confirmation opened.
func (p ConfirmProps) askedAt(here string) string {
	separator := "?"
	if strings.Contains(here, "?") {
		separator = "&"
	}
	return here + separator + "ask=" + url.QueryEscape(p.ID) + "#" + url.PathEscape(p.ID)
}

func (p ConfirmProps) buttonClass() string {
	if p.Danger {
		return "btn btn-error"
	}
	return "btn btn-primary"
}

// JSONProps describes a JSON block.
type JSONProps struct {
	ID    string
	Label string
	Raw   []byte
	Size  int64  // of the whole document, if it is not that of Raw
	Cut   bool   // Raw is only the beginning of the document
	More  string // link to a download of the whole document, where it is not shown whole
}

// PagerProps describes a Pager. An empty link shows a disabled button.
type PagerProps struct {
	Info  string // "50 of 1,204, newest first"
	First string // link to the first page, when not on it
	Prev  string
	Next  string
	Order PageOrder
}

// PageOrder is what the pages of a list are ordered by, in the words of its links.
type PageOrder int

// The orders.
const (
	NewestFirst PageOrder = iota
	OldestFirst
	ByValue
)

// words label the links to the first, the previous and the next page.
func (o PageOrder) words() [3]string {
	switch o {
	case OldestFirst:
		return [3]string{"Oldest", "Older", "Newer"}
	case ByValue:
		return [3]string{"First", "Previous", "Next"}
	}
	return [3]string{"Newest", "Newer", "Older"}
}

// FlashProps describes a Flash. Kind is done, note or error.
type FlashProps struct {
	Kind   string
	Text   string // what was done
	Detail string // what was skipped and why
	Href   string // link to what it was done to; "" for none
	Link   string // its label
	Action templ.Component
}

func (f FlashProps) class() string {
	switch f.Kind {
	case "done":
		return "flash s-completed"
	case "error":
		return "flash s-dead"
	}
	return "flash s-cancelled"
}

func (f FlashProps) icon() string {
	switch f.Kind {
	case "done":
		return "check"
	case "error":
		return "alert"
	}
	return "info"
}

// PanelProps describes a Panel.
type PanelProps struct {
	ID      string
	Title   string
	Note    string
	Actions templ.Component
	Attrs   templ.Attributes // for instance Live(…)
}

// btnClass returns the classes of a button.
func btnClass(primary, danger, small, ghost bool) string {
	c := "btn"
	if primary {
		c += " btn-primary"
	}
	if ghost {
		c += " btn-ghost"
	}
	if danger {
		c += " is-danger"
	}
	if small {
		c += " btn-sm"
	}
	return c
}

func stateClass(state string) string {
	if state == "" {
		return ""
	}
	return "s-" + state
}

// patternOf returns a pattern that matches exactly s. The pattern attribute is compiled with the v
// flag, which allows an escape before these characters and no others.
func patternOf(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`^$\.*+?()[]{}|/`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
