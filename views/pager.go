package views

import (
	"net/url"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// pagerOf links to the neighbours of a page that was read from the cursor on.
func pagerOf[T any](page jobs.Page[T], at jobs.Cursor, url func(jobs.Cursor) string) (p ui.PagerProps) {
	first := jobs.Cursor{}
	if at != first {
		p.First = url(first)
	}
	if page.Prev != first {
		p.Prev = url(page.Prev)
	}
	if page.Next != first {
		p.Next = url(page.Next)
	}
	return p
}

// shown describes how many rows a page has, and how they are ordered.
func shown(n int, order string) string {
	if n == 0 {
		return order
	}
	return ui.Number(int64(n)) + " shown, " + order
}

// withQuery adds the values that are not empty to path, as its query.
func withQuery(path string, values map[string]string) string {
	q := url.Values{}
	for name, value := range values {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// ages are the choices of how old the rows of a list may be.
func ages(chosen time.Duration) []ui.Option {
	list := []ui.Option{{Label: "Any time"}, {Value: "15m", Label: "Last 15 min"}, {Value: "1h", Label: "Last hour"},
		{Value: "24h", Label: "Last 24 h"}}
	for i, o := range list {
		if d, _ := time.ParseDuration(o.Value); d == chosen {
			list[i].Selected = true
			return list
		}
	}
	return append(list, ui.Option{Value: chosen.String(), Label: "Last " + ui.Duration(chosen), Selected: true})
}

// withinParam is the query parameter for how old the rows of a list may be.
func withinParam(d time.Duration) string {
	for _, o := range ages(d) {
		if o.Selected {
			return o.Value
		}
	}
	return ""
}
