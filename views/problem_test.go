package views_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/views"
)

func TestProblem_HasOneTitleAndTheNextStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		from   string
		sent   bool
		title  string
		label  string
		next   string // "": only the overview
	}{
		{404, "/nope", false, "Page not found", "", ""},
		{422, "/jobs?cursor=x&kind=mail", false, "Invalid link", "First page", "/jobs?kind=mail"},
		{422, "/jobs?state=nope", false, "Invalid link", "Clear filters", "/jobs"},
		{400, "/jobs/nope", false, "Invalid link", "", ""},
		{405, "/jobs/1/retry", false, "Invalid link", "", ""},
		{422, "/failures/1", true, "Invalid form", "Go back", "/failures/1"},
		{409, "/jobs/1", true, "Not possible now", "Go back", "/jobs/1"},
		{404, "/jobs/1", true, "Page not found", "Go back", "/jobs/1"},
		{503, "/jobs?q=a", false, "Database unavailable", "Try again", "/jobs?q=a"},
		{500, "/jobs", false, "Something went wrong", "Try again", "/jobs"},
		{422, "/", true, "Invalid form", "", ""},
	} {
		m := views.NewProblemModel(c.status, "why", c.from, c.sent)
		require.Equal(t, c.title, m.Title, c.from)
		require.Equal(t, c.next, m.Next, c.from)
		if m.Next != "" {
			require.Equal(t, c.label, m.Label, c.from)
		}
	}
}
