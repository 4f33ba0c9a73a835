package views

import "net/http"

// ProblemModel is an error in words, with a next step.
type ProblemModel struct {
	Title string
	Hint  string
}

// NewProblemModel describes an error by its status; detail is a sentence for the user.
func NewProblemModel(status int, detail string) ProblemModel {
	m := ProblemModel{Title: "Something went wrong", Hint: detail}
	switch status {
	case http.StatusNotFound:
		m.Title = "Not here"
	case http.StatusServiceUnavailable:
		m.Title = "No answer from the database"
	case http.StatusConflict:
		m.Title = "Not possible now"
	case http.StatusForbidden:
		m.Title = "Not allowed"
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		m.Title = "That address is not right"
	}
	return m
}
