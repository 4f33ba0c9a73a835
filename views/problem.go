package views

import (
	"net/http"
	"net/url"
)

// ProblemModel is an error in words, with a next step.
type ProblemModel struct {
	Title string
	Icon  string
	Hint  string
	Where string // the address, where nothing is
	Next  string // link to the next step; "" if only the overview is left
	Label string // of Next
}

// problemTitles name an error by its status.
var problemTitles = map[int]string{
	http.StatusNotFound:            "Page not found",
	http.StatusMethodNotAllowed:    "Invalid link",
	http.StatusServiceUnavailable:  "Database unavailable",
	http.StatusConflict:            "Not possible now",
	http.StatusUnauthorized:        "Not signed in",
	http.StatusForbidden:           "Not allowed",
	http.StatusTooManyRequests:     "Too many requests",
	http.StatusBadRequest:          "Invalid link",
	http.StatusUnprocessableEntity: "Invalid link",
}

// NewProblemModel describes an error by its status; detail is a sentence for the user. from is the
// page that was asked for, or whose form was sent.
func NewProblemModel(status int, detail, from string, sent bool) ProblemModel {
	m := ProblemModel{Title: problemTitles[status], Icon: "alert", Hint: detail, Next: from, Label: "Try again"}
	if m.Title == "" {
		m.Title = "Something went wrong"
	}
	invalid := m.Title == "Invalid link"
	switch {
	case sent && invalid:
		m.Title, m.Label = "Invalid form", "Go back"
	case sent:
		m.Label = "Go back"
	case invalid:
		m.Next, m.Label = repaired(from)
	case status == http.StatusNotFound:
		m.Icon, m.Where, m.Next = "link", from, ""
	}
	if m.Next == "/" {
		m.Next = ""
	}
	return m
}

// repaired returns a link to a list without what may be wrong in its address: its place in the list
// or else its filters. It returns "" if the address has neither.
func repaired(address string) (link, label string) {
	u, err := url.Parse(address)
	if err != nil || u.RawQuery == "" {
		return "", ""
	}
	q := u.Query()
	if !q.Has("cursor") {
		return u.Path, "Clear filters"
	}
	q.Del("cursor")
	u.RawQuery = q.Encode()
	return u.String(), "First page"
}
