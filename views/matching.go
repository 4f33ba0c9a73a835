package views

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// Matching is all jobs that match the filter of a list, for the actions on them.
type Matching struct {
	Filter jobs.Filter
	Until  time.Time                 // jobs that come later are left alone
	Counts map[jobs.State]jobs.Count // by state, whatever the filter's
	Back   string                    // the page that the actions return to
}

// matchingPath returns the path to which an action on all that match is sent.
func matchingPath(act jobs.Action) string { return "/jobs/all/" + string(act) }

// count is the number of the jobs that match.
func (m Matching) count() (n jobs.Count) {
	for state, have := range m.Counts {
		if m.Filter.State == "" || m.Filter.State == state {
			n += have
		}
	}
	return n
}

// countFor is the number of those that an action is for.
func (m Matching) countFor(act jobs.Action) (n jobs.Count) {
	for _, state := range act.ForMany(m.Filter.State) {
		n += m.Counts[state]
	}
	return n
}

// label is "All 1,394 that match".
func (m Matching) label() string { return "All " + countText(m.count()) + " that match" }

func countText(n jobs.Count) string { return ui.Capped(int64(n), jobs.CountCap) }

// jobsText is "1 job" or "10,000+ jobs".
func jobsText(n jobs.Count) string { return countText(n) + " " + word(int(n), "job", "jobs") }

// actions are those that any of the jobs that match allows.
func (m Matching) actions() []jobs.Action {
	return slices.DeleteFunc(slices.Clone(operatorActions), func(act jobs.Action) bool { return m.countFor(act) == 0 })
}

// matchingWords are the words of an action on all that match.
var matchingWords = map[jobs.Action]struct{ verb, icon, consequence string }{
	jobs.ActionRetry: {"Retry", "retry", "They'll run again now, with one extra attempt if none are left. " +
		"Jobs whose unique key is in use are skipped. To undo it, cancel them while they wait: the next page links to them."},
	jobs.ActionRun: {"Run", "play", "They'll run now instead of at their time. " +
		"To undo it, cancel them while they wait: the next page links to them."},
	jobs.ActionCancel: {"Cancel", "cancel", "They will not run. Running jobs are asked to stop; work already done is not undone. " +
		"To undo it, retry them: the next page links to them."},
	jobs.ActionDelete: {"Delete", "trash", "This deletes the jobs with their attempts and deliveries. It cannot be undone."},
}

// confirm asks before an action on all that match: it says how many jobs that are, which, and what becomes of them.
func (m Matching) confirm(act jobs.Action) ui.ConfirmProps {
	words, count := matchingWords[act], jobsText(m.countFor(act))
	p := ui.ConfirmProps{ID: string(act) + "-matching", Label: words.verb + "…", Icon: words.icon, URL: matchingPath(act), Hidden: m.sent(),
		Title: words.verb + " " + count + "?", Consequence: m.scope(act) + " " + words.consequence, Button: words.verb + " " + count,
		Reason: "optional", Danger: act == jobs.ActionDelete}
	if act == jobs.ActionRun {
		p.Label, p.Title, p.Button = "Run now…", p.Title[:len(p.Title)-1]+" now?", p.Button+" now"
	}
	if act == jobs.ActionDelete {
		p.Reason = "required"
	}
	if m.countFor(act).Capped() {
		p.Consequence += " At most 10,000 at a time."
	}
	return p
}

// retryDead is the confirm of a retry beside the title of a list of dead jobs.
func (m Matching) retryDead() ui.ConfirmProps {
	p := m.confirm(jobs.ActionRetry)
	p.ID, p.Label = "retry-dead", "Retry all "+countText(m.count())+"…"
	return p
}

// scope says which jobs an action is for: where the filter has no state, how many of each.
func (m Matching) scope(act jobs.Action) string {
	which := m.Filter.Words()
	if m.Filter.State != "" {
		return "This is for all " + which + "." + laterOnes
	}
	counts := map[jobs.State]string{}
	for _, s := range act.ForMany("") {
		if m.Counts[s] > 0 {
			counts[s] = countText(m.Counts[s])
		}
	}
	return "This is for " + byState(counts) + " " + strings.TrimPrefix(which, "all ") + "." + laterOnes
}

const laterOnes = " Jobs that come later are left alone."

// byState is "2 running and 1 queued", in the order of a job's life.
func byState(counts map[jobs.State]string) string {
	var parts []string
	for _, s := range jobs.States {
		if n := counts[s]; n != "" {
			parts = append(parts, n+" "+string(s))
		}
	}
	if n := len(parts); n > 2 {
		parts = []string{strings.Join(parts[:n-1], ", "), parts[n-1]}
	}
	return strings.Join(parts, " and ")
}

// sent returns the hidden fields of an action: the filter, and the time that its jobs had come by.
func (m Matching) sent() []ui.Hidden {
	list := []ui.Hidden{{Name: "back", Value: m.Back}, {Name: "until", Value: m.Until.Format(time.RFC3339Nano)}}
	f := m.Filter
	for _, h := range []ui.Hidden{{Name: "state", Value: string(f.State)}, {Name: "kind", Value: f.Kind}, {Name: "queue", Value: f.Queue},
		{Name: "q", Value: f.Text}} {
		if h.Value != "" {
			list = append(list, h)
		}
	}
	if f.Operation != uuid.Nil {
		list = append(list, ui.Hidden{Name: "operation", Value: f.Operation.String()})
	}
	if f == (jobs.Filter{}) {
		list = append(list, ui.Hidden{Name: "all", Value: "true"})
	}
	return list
}

// mayMatch reports whether the page offers actions on all that match: ticks reach the others.
func mayMatch(ctx context.Context, m JobsModel) bool {
	return m.Matching != nil && int(m.Matching.count()) > len(m.Rows) && mayTick(ctx, operatorActions)
}

// ActedOnMatching returns the message about an action on all that match, with a link to the jobs.
func ActedOnMatching(act jobs.Action, r jobs.BulkResult) ui.FlashProps {
	if r.Done+r.Skipped == 0 && !r.Left {
		return ui.FlashProps{Kind: "note", Text: "Nothing was done: no job matched any more."}
	}
	f := ActedOnTicked(act, r)
	if r.Left {
		f.Kind, f.Detail = "note", strings.TrimSpace(f.Detail+" More are left: repeat the action for them.")
	}
	if r.Operation != nil && r.Done > 0 {
		f.Href, f.Link = jobsURL(jobs.Filter{Operation: *r.Operation}, jobs.Cursor{}), "Show these jobs"
	}
	return f
}
