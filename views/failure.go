package views

import (
	"cmp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// deadActions are those that a dead job allows.
var deadActions = []jobs.Action{jobs.ActionRetry, jobs.ActionDelete}

// Marked returns the message about a mark.
func Marked(s jobs.FailureStatus) string {
	if s == jobs.FailureOpen {
		return "Reopened the failure."
	}
	return "Marked the failure as " + string(s) + "."
}

// FailureModel is one group.
type FailureModel struct {
	jobs.FailureGroup
	URL     string // of exactly this page of its jobs
	Base    string
	Gone    bool    // no dead job is in it any more
	Pattern Pattern // the title; nil if it is not known
	Latest  *Run    // of the newest job
	Queues  []FailureQueue
	Outlook Text      // how jobs of the kind do now, for who wants to retry these; nil if none has ended
	Recent  Recent    // the last of the kind
	Trend   []float64 // jobs that died so in each of the last hours; nil if that is not known
	Rows    []FailedRow
	Pager   ui.PagerProps
	Action  *FailureAction // what was last done to all its jobs; nil if nothing was
	Badge   FailureBadge
	Said    Text // what somebody said about it, as a sentence; nil if nobody did
}

// FailureQueue is a queue that jobs of the group are in.
type FailureQueue struct{ Name, Href string }

// FailedRow is one dead job of a group, whose error the page has said already.
type FailedRow struct {
	JobRow
	Args string
}

// FailureAction is what somebody did to all jobs of a group, in words.
type FailureAction struct {
	What  string // "87 jobs were retried"
	At    time.Time
	After string // " by ann (“fixed”): 60 completed, 27 queued"
	Jobs  string // link to the retried jobs; "" if there are none, or they cannot be told from others
}

// newFailureAction shapes an action on a group; counts are those of the jobs that it retried, nil if
// they are not known.
func newFailureAction(e jobs.FailureAction, counts map[jobs.State]jobs.Count) *FailureAction {
	a := &FailureAction{What: plural(e.Done, "job was", "jobs were") + " deleted", At: e.At, After: explain.By(e.Actor)}
	if e.Retried {
		a.What = plural(e.Done, "job was", "jobs were") + " retried"
	}
	if e.Reason != "" {
		a.After += " (“" + oneLine(e.Reason) + "”)"
	}
	left := e.Done
	for _, n := range counts {
		left -= int(n)
	}
	if e.Operation != uuid.Nil && (counts == nil || left < e.Done) {
		a.Jobs = jobsURL(jobs.Filter{Operation: e.Operation}, jobs.Cursor{})
	}
	if counts != nil {
		a.After += ": " + whereNow(counts, left)
	}
	return a
}

// whereNow is "60 completed, 27 queued"; left is how many jobs are in no count.
func whereNow(counts map[jobs.State]jobs.Count, left int) string {
	var parts []string
	for _, s := range jobs.States {
		if n := counts[s]; n > 0 {
			parts = append(parts, ui.Number(int64(n))+" "+string(s))
		}
	}
	if left > 0 {
		parts = append(parts, ui.Number(int64(left))+" retried again, purged or deleted since")
	}
	return strings.Join(parts, ", ")
}

// FailureFacts is the data of the page of a group.
type FailureFacts struct {
	Group  jobs.FailureGroup
	Last   jobs.Attempt // that the newest job ended with
	Recent []jobs.Job   // of the kind, that ended last
	Trend  []*int64     // nil if not known
	Around map[string]jobs.Around
	Page   jobs.Page[jobs.Job]
	Cursor jobs.Cursor
	Queue  func(queue string) string // the page of a job queue
}

// NewFailureModel shapes a group.
func NewFailureModel(f FailureFacts) FailureModel {
	g, page, c := f.Group, f.Page, f.Cursor
	m := FailureModel{FailureGroup: g, Base: FailureURL(g.Key), Pattern: newPattern(g.Error), Latest: latestRun(g, f.Last),
		Badge: badgeOf(g), Said: MarkText(g, jobs.CountCap).sentence(), Outlook: outlook(f), Recent: newRecent(f.Recent, uuid.Nil)}
	if f.Trend != nil {
		m.Trend = floats(f.Trend)
	}
	if m.said() {
		m.Latest.Error = ""
	}
	m.URL = withQuery(m.Base, map[string]string{"cursor": c.String()})
	for _, q := range g.Queues {
		m.Queues = append(m.Queues, FailureQueue{Name: q, Href: f.Queue(q)})
	}
	for _, j := range page.Items {
		m.Rows = append(m.Rows, FailedRow{JobRow: NewJobRow(j), Args: cmp.Or(argsLine(j.Args), "arguments too large for a list")})
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return withQuery(m.Base, map[string]string{"cursor": c.String()}) })
	m.Pager.Info = shown(len(m.Rows), "most recently failed first")
	return m
}

// outlook says whether a retry may succeed: how the last jobs of the kind ended, and who would run these.
func outlook(f FailureFacts) (t Text) {
	completed, since := 0, 0 // since the last one that did not
	for _, j := range f.Recent {
		since++
		if j.State != jobs.Completed {
			since = 0
			continue
		}
		completed++
	}
	switch all := len(f.Recent); {
	case all == 0:
	case completed == 0 && all == 1:
		t = words("The last job of this kind did not complete.")
	case completed == 0:
		t = words("None of the last " + ui.Number(int64(all)) + " jobs of this kind completed.")
	case since == 1:
		t = words("The last job of this kind completed").timed(" ", *f.Recent[all-1].FinishedAt, ui.Ago).and(".")
	case since > 1:
		t = words("The last "+ui.Number(int64(since))+" jobs of this kind completed, the newest").
			timed(" ", *f.Recent[all-1].FinishedAt, ui.Ago).and(".")
	default:
		t = words(ui.Number(int64(completed)) + " of the last " + ui.Number(int64(all)) +
			" jobs of this kind completed; the newest did not.")
	}
	for _, queue := range f.Group.Queues {
		if f.Around[queue].Unworked() {
			t = t.and(" No worker consumes " + queue + ".")
		}
	}
	return t
}

// peak is the trend in words.
func (m FailureModel) peak() string { return "Peak: " + highest(m.Trend) + " in one hour" }

// said reports whether the title says the whole newest error, so that the page need not repeat it.
func (m FailureModel) said() bool {
	return m.Title() == m.Latest.Error && len(m.Pattern) == 1 && m.Latest.Class == ""
}

// latestTitle is the heading of the newest run; "" if the title has said all of it.
func (m FailureModel) latestTitle() string {
	switch r := m.Latest; {
	case r.Error != "":
		return "Latest error"
	case r.Stack.Text != "" || r.Log != "":
		return "Latest run"
	}
	return ""
}

// latestRun is the run that the newest job of a group ended with.
func latestRun(g jobs.FailureGroup, last jobs.Attempt) *Run {
	r, left := newRun(last, nil), allowance(textShown)
	r.Error = cmp.Or(left.take(g.NewestError), noError)
	r.Log, r.Stack = left.take(r.Log), newStack(left.take(r.Stack.Text))
	return r
}

// GoneFailure returns the model of a group that has no dead jobs any more.
func GoneFailure(key uuid.UUID) FailureModel {
	return FailureModel{Gone: true, URL: FailureURL(key), Base: FailureURL(key)}
}

// cols are the columns of the group's jobs; the head names the queue if they are all in one.
func (m FailureModel) cols() []ui.Col {
	cols := []ui.Col{{Label: "Job", Class: "grow"}}
	if len(m.Queues) > 1 {
		cols = append(cols, ui.Col{Label: "Queue", Class: "w-queue " + ui.OnlyDesktop})
	}
	return append(cols, ui.Col{Label: "Attempt", Class: "r w-num " + ui.OnlyDesktop}, ui.Col{Label: "Failed", Class: "r w-ago max-sm:pr-3"},
		ui.Col{Label: "Actions", Class: "r w-acts " + ui.NotPhone, Quiet: true})
}

// back is the page that the buttons of the rows return to.
func (m FailureModel) back() []ui.Hidden { return []ui.Hidden{{Name: "back", Value: m.URL}} }

func (m FailureModel) deleteOne(id, href string) ui.ConfirmProps {
	return ui.ConfirmProps{ID: "delete-" + id, Label: "Delete…", URL: href + "/delete", Hidden: m.back(), Title: "Delete this job?",
		Consequence: "This deletes the job, its attempts and deliveries. It cannot be undone.", Button: "Delete the job",
		Reason: "optional", Danger: true, Small: true, Ghost: true}
}

// topics are of the dead jobs and of what else the page shows: how other jobs of the kind end, and who works its queues.
func (m FailureModel) topics() []string {
	return []string{engine.TopicFailures, ui.Slowly(engine.TopicJobs), ui.Slowly(engine.TopicWorkers)}
}

// WithAction returns the model with the action that was last carried out on the whole group; counts
// are those of the jobs that it retried, nil if they are not known.
func (m FailureModel) WithAction(e jobs.FailureAction, counts map[jobs.State]jobs.Count) FailureModel {
	m.Action = newFailureAction(e, counts)
	if m.Gone {
		m.Kind, m.Pattern = e.Kind, newPattern(e.Error)
	}
	return m
}

// Title names the group in the browser's tab.
func (m FailureModel) Title() string {
	var s strings.Builder
	for _, p := range m.Pattern {
		s.WriteString(p.Text)
	}
	return cmp.Or(oneLine(s.String()), "Failure")
}

// CountText is the number of jobs in the group, up to the cap.
func (m FailureModel) CountText() string { return ui.Capped(int64(m.Count), jobs.CountCap) }

// jobsText is "1 job" or "1,204 jobs".
func (m FailureModel) jobsText() string {
	return m.CountText() + " " + word(int(m.Count), "job", "jobs")
}

// deadText is "1 dead job" or "1,204 dead jobs".
func (m FailureModel) deadText() string {
	return m.CountText() + " dead " + word(int(m.Count), "job", "jobs")
}

// sent returns the hidden fields of an action on the group, which limit it to the jobs that are
// dead now.
func (m FailureModel) sent() []ui.Hidden {
	return []ui.Hidden{{Name: "until", Value: m.LastSeen.Format(time.RFC3339Nano)}}
}

// marks returns the confirmations of the marks that the group does not have.
func (m FailureModel) marks() (list []ui.ConfirmProps) {
	for _, mark := range []struct {
		status            jobs.FailureStatus
		icon, consequence string
	}{
		{jobs.FailureKnown, "info", "Its dead jobs, also those to come, are then only a note on the overview, until somebody reopens it."},
		{jobs.FailureFixed, "check", "Its dead jobs then ask for no attention. If another job dies like this, it is open again."},
	} {
		if name := string(mark.status); mark.status != m.Status {
			list = append(list, ui.ConfirmProps{ID: "mark-" + name, Label: "Mark as " + name + "…", Icon: mark.icon,
				URL: m.Base + "/" + name, Title: "Mark this failure as " + name + "?", Consequence: mark.consequence,
				Button: "Mark as " + name, Note: "shown with the failure"})
		}
	}
	return list
}

func (m FailureModel) retryConsequence() string {
	return "They'll run again now, with one extra attempt if none are left. Jobs whose unique key is in use are skipped." + m.limit()
}

func (m FailureModel) deleteConsequence() string {
	return "This deletes the jobs, their attempts and deliveries. It cannot be undone." + m.limit()
}

func (m FailureModel) limit() string {
	if m.Count.Capped() {
		return " At most 10,000 at a time."
	}
	return ""
}

// Acted returns the message about an action on a group. done is "Retried" or "Deleted".
func Acted(done string, r jobs.BulkResult) ui.FlashProps {
	f := ui.FlashProps{Kind: "done", Text: done + " " + plural(r.Done, "job", "jobs") + "."}
	if r.Skipped > 0 {
		f.Kind, f.Detail = "note", plural(r.Skipped, "job was skipped: its unique key is in use.",
			"jobs were skipped: their unique keys are in use.")
	}
	if r.Left {
		f.Kind, f.Detail = "note", strings.TrimSpace(f.Detail+" More are left: repeat the action for them.")
	}
	return f
}

// alikeWords is the text of the link from a dead job to its group.
func alikeWords(n jobs.Count) string {
	if n <= 1 {
		return "no similar failures"
	}
	if n == 2 {
		return "1 similar failure"
	}
	return ui.Capped(int64(n)-1, jobs.FailureCountCap-1) + " similar failures"
}
