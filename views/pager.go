package views

import (
	"net/url"

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
