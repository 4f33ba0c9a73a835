package views

import (
	"context"
	"strings"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// tickedPath returns the path to which the bar of ticked jobs sends an action.
func tickedPath(act jobs.Action) string { return "/jobs/" + string(act) }

// mayTick reports whether the reader may do anything with ticked jobs.
func mayTick(ctx context.Context, actions []jobs.Action) bool {
	for _, act := range actions {
		if ui.May(ctx, tickedPath(act)) {
			return true
		}
	}
	return false
}

// tickedWords are the words of an action on many jobs: what was done, and why it is not allowed on
// some.
var tickedWords = map[jobs.Action]struct{ did, unless string }{
	jobs.ActionRetry:  {"Retried", "only jobs that have ended can be retried"},
	jobs.ActionRun:    {"Queued to run now:", "only scheduled and retrying jobs can be run now"},
	jobs.ActionCancel: {"Cancelled", "jobs that have ended cannot be cancelled"},
	jobs.ActionDelete: {"Deleted", "queued and running jobs must be cancelled first"},
}

// ActedOnTicked returns the message about an action on ticked jobs: what was done, what was skipped
// and why.
func ActedOnTicked(act jobs.Action, r jobs.BulkResult) ui.FlashProps {
	if r.Done+r.Skipped+r.Gone == 0 {
		return ui.FlashProps{Kind: "note", Text: "Nothing was done: no job was selected.",
			Detail: "Select jobs first, then choose an action."}
	}
	words := tickedWords[act]
	f := ui.FlashProps{Kind: "done", Text: words.did + " " + plural(r.Done-r.Stopping, "job", "jobs") + "."}
	if r.Done == 0 {
		f = ui.FlashProps{Kind: "note", Text: "Nothing was done."}
	}
	var more []string
	if r.Stopping > 0 {
		asked := plural(r.Stopping, "running job was", "running jobs were") + " asked to stop."
		if r.Stopping == r.Done {
			f.Text = asked
		} else {
			more = append(more, asked)
		}
	}
	left := r.Skipped
	if states := statesText(r.NotAllowed); states != "" {
		more = append(more, "Skipped "+states+": "+words.unless+".")
		for _, n := range r.NotAllowed {
			left -= n
		}
	}
	if left > 0 {
		more = append(more, "Skipped "+plural(left, "job: an open job has its unique key.", "jobs: open jobs have their unique keys."))
	}
	if r.Gone > 0 {
		more = append(more, plural(r.Gone, "job no longer exists.", "jobs no longer exist."))
	}
	f.Detail = strings.Join(more, " ")
	return f
}

// statesText is "2 running and 1 queued".
func statesText(counts map[jobs.State]int) string {
	texts := map[jobs.State]string{}
	for s, n := range counts {
		if n > 0 {
			texts[s] = ui.Number(int64(n))
		}
	}
	return byState(texts)
}
