package views

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// Step is one line of the time line of a job: a moment, a wait, or a run.
type Step struct {
	State  string // colour and, without an icon, shape
	Icon   string
	Title  string
	Detail string
	At     time.Time
	Until  *time.Time // end of a wait or a run; nil while it lasts, and of a moment
	Lasts  bool       // it has a length, and goes on if Until is nil
	Within bool       // it ended some time before Until: then it was noticed
	Wait   bool       // nothing ran: its bar is pale
	Gap    string     // of a second or more, between the end of what came before and this
	Now    bool       // the current step of the job
	Person bool       // somebody did it
	Same   bool       // its error is that of an earlier attempt
	Run    *Run
	Bar    Bar
}

// Run is what one run of the handler left behind.
type Run struct {
	Worker  string
	Error   string
	Class   string // of the error; "" if it says nothing to people
	Log     string
	Stack   Stack
	Notes   []string // what happened to its message
	Lease   int
	Opened  bool // it is shown at once
	LogOpen bool
}

// Bar is the place of a step on the time axis, in thousandths.
type Bar struct{ Left, Width int }

// Length returns how long a step lasted, or "".
func (s Step) Length() string {
	if !s.Lasts || s.Until == nil {
		return ""
	}
	length := ui.Duration(s.Until.Sub(s.At))
	if s.Within {
		return "after at most " + length
	}
	return length
}

// due returns when the wait that a job is in ends; nil for another step.
func (s Step) due() *time.Time {
	if s.Now && s.Lasts {
		return s.Until
	}
	return nil
}

// Opens reports whether there is more to see of the step.
func (s Step) Opens() bool {
	return s.Run != nil && (s.Run.Error != "" && s.Run.Error != s.Detail || s.Run.more())
}

// more reports whether there is more to see of a run than its error.
func (r *Run) more() bool { return r.Log != "" || r.Stack.Text != "" }

// steps lists what happened to a job, oldest first: who created it, its runs with their deliveries,
// the waits between them, what people did, and how it stands now.
func steps(d jobs.Detail) []Step {
	list := []Step{{State: "ink", Icon: "plus", Title: "Created", Detail: "by " + originWords(d.Origin), At: d.CreatedAt}}
	list = append(list, runSteps(d)...)
	list = append(list, strayDeliveries(d)...)
	for _, v := range d.Drift {
		list = append(list, Step{State: "retrying", Title: "Re-sent", Detail: driftWords(v), At: v.At})
	}
	for _, e := range d.People {
		list = append(list, personStep(e))
	}
	slices.SortStableFunc(list, func(a, b Step) int { return a.At.Compare(b.At) })
	list = bounded(withWaits(d, append(list, standing(d)...)), d.Earlier)
	openNewest(list)
	place(list, d.Around.Now)
	return list
}

// bounded leaves out steps after the first one, and the ends of long texts, so that the newest are shown.
func bounded(list []Step, earlier bool) []Step {
	if n := len(list) - stepsShown; (n > 0 || earlier) && len(list) > 1 {
		rest := list[1+max(n, 0):]
		gap := Step{State: "ink", Icon: "more", Title: "…", Detail: "Steps in between are not shown: the API has them.", At: rest[0].At}
		list = append([]Step{list[0], gap}, rest...)
	}
	left := allowance(textShown)
	for i := len(list) - 1; i >= 0; i-- {
		if r := list[i].Run; r != nil {
			r.Error, r.Log, r.Stack = left.take(r.Error), left.take(r.Log), newStack(left.take(r.Stack.Text))
		}
	}
	return list
}

// attemptTitles name a run by its outcome. Crashed and returned runs cost no attempt.
var attemptTitles = map[string]string{"": "Attempt %d running", jobs.AttemptCompleted: "Attempt %d completed",
	jobs.AttemptFailed: "Attempt %d failed", jobs.AttemptCancelled: "Attempt %d cancelled", jobs.AttemptSnoozed: "Attempt %d put off"}

func runSteps(d jobs.Detail) (list []Step) {
	uncounted, crashes, known := 0, 0, map[string]knownError{}
	for _, a := range d.Attempts {
		if d.Earlier { // how many were before is not known
			uncounted = 0
		}
		s := Step{State: attemptState(a.Outcome), At: a.StartedAt, Until: a.FinishedAt, Lasts: true, Now: a.FinishedAt == nil,
			Run: newRun(a, d.Deliveries)}
		switch a.Outcome {
		case jobs.AttemptCrashed:
			uncounted, crashes = uncounted+1, crashes+1
			s.Title = fmt.Sprintf("Crash %d: worker lost", crashes)
			if d.Earlier {
				s.Title = "Crash: worker lost"
			}
			s.Within, s.Run.Error = true, "" // the error is the same in each: the title says it
			s.Detail = a.Worker + " was lost before the job finished"
		case jobs.AttemptReleased:
			uncounted++
			s.Title, s.Detail, s.Run.Error = "Given back", "its worker stopped", ""
		default:
			attempt := max(a.Number-uncounted, 1)
			s.Title = fmt.Sprintf(cmp.Or(attemptTitles[a.Outcome], "Attempt %d "+strings.ReplaceAll(a.Outcome, "%", "%%")), attempt)
			s.Detail, s.Same = folded(known, attempt, a.Error)
		}
		if s.Now && d.CancelRequestedAt != nil {
			s.Detail = "asked to stop"
		}
		list = append(list, s)
	}
	return list
}

// knownError is the error of an attempt that has been shown.
type knownError struct {
	text    string
	attempt int
}

// shortError is an error that costs no more room than words about it, in bytes.
const shortError = 60

// randomIDs are what differs between two reports of one error: ids of requests and traces, and times in numbers.
var randomIDs = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,}|[0-9]{8,}`)

// folded returns the error of an attempt on one line, or which earlier attempt had the same.
func folded(known map[string]knownError, attempt int, text string) (detail string, same bool) {
	key := randomIDs.ReplaceAllString(text, "#")
	earlier, same := known[key]
	if len(text) <= shortError || !same {
		known[key] = knownError{text, attempt}
		return oneLine(text), false
	}
	detail = fmt.Sprintf("same error as attempt %d", earlier.attempt)
	if earlier.text != text {
		detail += ", with other IDs"
	}
	return detail, true
}

func newRun(a jobs.Attempt, deliveries []jobs.DeliveryRecord) *Run {
	r := &Run{Worker: a.Worker, Error: a.Error, Class: telling(a.ErrorClass), Log: logText(a), Stack: Stack{Text: a.Stack}, Lease: a.Lease}
	for _, v := range deliveries {
		if len(r.Notes) < notesShown && v.Lease == a.Lease && (v.Redelivered || v.Outcome == jobs.DeliverySame) {
			r.Notes = append(r.Notes, runNote(v))
		}
	}
	return r
}

// telling returns the class of an error if it tells people more than that there was one.
func telling(class string) string {
	switch class {
	case "*errors.errorString", "*errors.joinError", "*fmt.wrapError", "*fmt.wrapErrors", "panic", "crash":
		return ""
	}
	return class
}

// runNote describes the delivery that a run began with, if it was not the first of its message.
func runNote(v jobs.DeliveryRecord) string {
	if v.Outcome == jobs.DeliverySame {
		return title(deliveryWords(v))
	}
	words := title(cmp.Or(requeued(v.DeliveryCount), "redelivered"))
	if v.FromWorker != nil && *v.FromWorker != v.Worker {
		words += "; moved from " + *v.FromWorker + " to " + v.Worker
	}
	return words
}

// requeued says how often the broker took a message back, "" for never.
func requeued(times int) string {
	if times <= 0 {
		return ""
	}
	return "requeued " + explain.Times(times)
}

// deliveryWords describe a delivery that was not the first of its message.
func deliveryWords(v jobs.DeliveryRecord) string {
	words := "delivered again to " + v.Worker
	if v.Redelivered {
		words = "redelivered to " + v.Worker
	}
	if v.FromWorker != nil && *v.FromWorker != v.Worker {
		words += " (was on " + *v.FromWorker + ")"
	}
	if again := requeued(v.DeliveryCount); again != "" {
		words += ", " + again
	}
	if v.Outcome == jobs.DeliverySame {
		words += ", which already ran it"
	}
	return words
}

// strayDeliveries are the deliveries that started no run.
func strayDeliveries(d jobs.Detail) (list []Step) {
	for _, v := range d.Deliveries {
		if slices.ContainsFunc(d.Attempts, func(a jobs.Attempt) bool { return a.Lease == v.Lease }) {
			continue
		}
		s := Step{State: "cancelled", Title: "Delivered", Detail: strings.TrimPrefix(deliveryWords(v), "delivered again "), At: v.At}
		if v.Redelivered {
			s.Title, s.Detail = "Redelivered", strings.TrimPrefix(deliveryWords(v), "redelivered ")
		}
		switch v.Outcome {
		case jobs.DeliveryStaleReport:
			s.Title, s.Detail = "Report not counted", "from "+v.Worker+": its dispatch had ended, or is not the current one"
		case jobs.DeliveryStale:
			s.Detail += ": an outdated message, acknowledged and not run"
		case string(jobs.Dead), string(jobs.Cancelled):
			s.Detail += ": not run again"
		}
		list = append(list, s)
	}
	return list
}

// driftWords describe why a job was dispatched again automatically.
func driftWords(v jobs.Drift) string {
	return map[string]string{
		jobs.DriftEmpty:     "the broker no longer had its message: its queue was empty",
		jobs.DriftGone:      "the broker no longer had its message: its queue was deleted",
		jobs.DriftOvertaken: "the broker seemed to have lost its message: jobs dispatched long after it were delivered",
		jobs.DriftPurged:    "its queue was purged while it was being sent",
		jobs.DriftHolder:    "its worker was lost",
	}[v.Found]
}

func personStep(e jobs.AuditEntry) Step {
	words := map[string]string{"job.retry": "Retried", "job.cancel": "Cancel requested", "job.run": "Run now"}
	s := Step{State: "ink", Icon: "user", Title: cmp.Or(words[e.Action], e.Action), Detail: strings.TrimSpace(explain.By(e.Actor)),
		At: e.At, Person: true}
	if e.Reason != "" {
		s.Detail += ": " + e.Reason
	}
	return s
}

// waitTitles name the wait that follows a run with that outcome.
var waitTitles = map[string]string{jobs.AttemptFailed: "Waited before retry", jobs.AttemptSnoozed: "Waited, as its handler asked"}

// leastGap is the least time between two steps that is worth a word.
const leastGap = time.Second

// withWaits puts a wait after each run that failed or was put off, until somebody or something goes on with the job, and
// before each other run. Other gaps are only measured.
func withWaits(d jobs.Detail, list []Step) (out []Step) {
	outcome := map[int]string{}
	for _, a := range d.Attempts {
		outcome[a.Lease] = a.Outcome
	}
	latest := list[0].At
	for i, s := range list {
		if gap := s.At.Sub(latest); gap >= leastGap && s.Run != nil {
			out = append(out, beforeRun(d, latest, s)...)
		} else if gap >= leastGap {
			s.Gap = ui.Duration(gap)
		}
		out = append(out, s)
		latest = later(latest, s.end())
		if s.Run == nil || waitTitles[outcome[s.Run.Lease]] == "" {
			continue
		}
		next := slices.IndexFunc(list[i+1:], Step.goesOn)
		if next < 0 {
			continue
		}
		if end := list[i+1+next].At; end.After(s.end()) {
			out = append(out, Step{State: "retrying", Title: waitTitles[outcome[s.Run.Lease]], At: s.end(), Until: &end, Lasts: true,
				Wait: true})
			latest = later(latest, end)
		}
	}
	return out
}

// beforeRun returns the waits for a run since the end of what came before it. Of the newest run it is known when the job
// was queued for it: until then it was scheduled.
func beforeRun(d jobs.Detail, from time.Time, run Step) (list []Step) {
	wait := func(state jobs.State, title string, from, until time.Time) {
		if until.Sub(from) >= leastGap {
			list = append(list, Step{State: string(state), Title: title, At: from, Until: &until, Lasts: true, Wait: true})
		}
	}
	newest := len(d.Attempts) > 0 && d.Attempts[len(d.Attempts)-1].Lease == run.Run.Lease
	if !newest || d.QueuedAt == nil || d.QueuedAt.Before(from) || d.QueuedAt.After(run.At) {
		wait(jobs.Queued, "Waited", from, run.At)
		return list
	}
	wait(jobs.Scheduled, "Scheduled", from, *d.QueuedAt)
	wait(jobs.Queued, "Waited for a worker", *d.QueuedAt, run.At)
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// goesOn reports whether the step ends the wait after a run: another run, an action, or a place in a queue.
func (s Step) goesOn() bool { return s.Run != nil || s.Person || s.Now && s.Lasts }

func (s Step) end() time.Time {
	if s.Until != nil {
		return *s.Until
	}
	return s.At
}

// standing returns the last step: what the job waits for, or how it ended. A run says that itself.
func standing(d jobs.Detail) []Step {
	now := Step{State: string(d.State), Now: true, Lasts: true, Wait: true}
	switch d.State {
	case jobs.Scheduled:
		now.Title, now.At, now.Until = "Scheduled", sinceLast(d), &d.RunAt
	case jobs.Retrying:
		now.Title, now.At, now.Until = "Waiting to retry", sinceLast(d), &d.RunAt
	case jobs.Queued:
		now.Title = "Waiting for a worker"
		if d.InOutbox {
			now.Title = "Waiting in the outbox"
		}
		now.At = d.CreatedAt
		if d.QueuedAt != nil {
			now.At = *d.QueuedAt
		}
		if d.SentAt != nil && !d.SentAt.Before(now.At) {
			now.Detail = "sent to the broker"
		}
	case jobs.Dead, jobs.Cancelled:
		if d.FinishedAt == nil {
			return nil
		}
		now = Step{State: string(d.State), Title: "Dead", At: *d.FinishedAt, Now: true}
		if d.State == jobs.Cancelled {
			now.Title = "Cancelled"
		}
	default:
		return nil
	}
	return []Step{now}
}

// sinceLast returns when the wait for the next run began.
func sinceLast(d jobs.Detail) time.Time {
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if end := d.Attempts[i].FinishedAt; end != nil {
			return *end
		}
	}
	return d.CreatedAt
}

// openNewest opens the last failure, and the log of the last run. The explanation of the job shows an error that repeats.
func openNewest(list []Step) {
	failure, run := -1, -1
	for i, s := range list {
		if !s.Opens() || s.Same && !s.Run.more() {
			continue
		}
		if run = i; s.State == string(jobs.Dead) {
			failure = i
		}
	}
	if run >= 0 {
		list[run].Run.Opened, list[run].Run.LogOpen = true, true
	}
	if failure >= 0 {
		list[failure].Run.Opened = true
	}
}

const axis = 1000 // thousandths

// place puts the steps on one time axis, from the first moment to the last, or to now if that is later.
func place(list []Step, now time.Time) {
	first, last := list[0].At, list[0].At
	if current := list[len(list)-1]; current.Lasts && current.Until == nil && now.After(last) {
		last = now
	}
	for _, s := range list {
		last = later(last, s.end())
	}
	whole := last.Sub(first)
	if whole <= 0 {
		return
	}
	at := func(t time.Time) int { return int(int64(axis) * int64(t.Sub(first)) / int64(whole)) }
	for i, s := range list {
		left := min(max(at(s.At), 0), axis)
		width := max(at(s.end())-left, 0)
		if s.Lasts && s.Until == nil {
			width = axis - left
		}
		thin := barMin
		if !s.Lasts {
			width, thin = 0, tick
		}
		list[i].Bar = Bar{Left: min(left, axis-thin), Width: max(width, thin)}
	}
}

// The least width of a bar that can be seen, and that of a moment, in thousandths.
const (
	barMin = 12
	tick   = 4
)

// Stack is a stack trace: the frames of the application, and the whole text.
type Stack struct {
	Own   []string
	Rest  int // frames of the language and of Warren
	Text  string
	Whole bool // its frames could not be told apart
}

// newStack parses what debug.Stack returned: a header, then two lines per frame; or a traceback of Python.
func newStack(text string) Stack {
	if strings.HasPrefix(text, pythonHeader) {
		return pythonStack(text)
	}
	s := Stack{Text: text}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := 1; i+1 < len(lines); i++ {
		if !strings.HasPrefix(lines[i+1], "\t") {
			continue
		}
		if foreign(lines[i]) {
			s.Rest++
		} else {
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " +0x")
			s.Own = append(s.Own, function(lines[i])+"\n    "+place)
		}
		i++
	}
	s.Whole = len(s.Own) == 0
	return s
}

const pythonHeader = "Traceback (most recent call last):"

// pythonStack parses a traceback: a line for each frame, with its source below. The frame where the
// error was raised is last.
func pythonStack(text string) Stack {
	s := Stack{Text: text}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		file, ok := strings.CutPrefix(line, `File "`)
		file, place, found := strings.Cut(file, `"`)
		if !ok || !found {
			continue
		}
		if slices.ContainsFunc(pythonForeign, func(dir string) bool { return strings.Contains(file, dir) }) {
			s.Rest++
			continue
		}
		number, name, _ := strings.Cut(strings.TrimPrefix(place, ", line "), ", in ")
		s.Own = append(s.Own, cmp.Or(name, "<module>")+"\n    "+file+":"+number)
	}
	slices.Reverse(s.Own)
	s.Whole = len(s.Own) == 0
	return s
}

// pythonForeign are the folders of Python's own modules and of installed ones.
var pythonForeign = []string{"/lib/python", "/site-packages/", "/dist-packages/", "<frozen "}

// function returns the name in a line such as "shop.(*Till).pay(0x1, 0x2)".
func function(line string) string {
	line = strings.TrimPrefix(line, "created by ")
	if i := strings.LastIndex(line, "("); i > 0 && strings.HasSuffix(line, ")") {
		return line[:i]
	}
	return line
}

// foreign reports whether a frame belongs to the language, its standard library or Warren's engine.
func foreign(line string) bool {
	line = strings.TrimPrefix(line, "created by ")
	if strings.HasPrefix(line, "panic(") || strings.HasPrefix(line, "github.com/warrenjobs/warren/jobs") {
		return true
	}
	first, _, _ := strings.Cut(line, "/")
	first, _, _ = strings.Cut(first, ".")
	return slices.Contains(standard, first)
}

// standard are the first elements of the paths of Go's own packages that call or are called by handlers.
var standard = []string{"bufio", "bytes", "context", "crypto", "database", "encoding", "errors", "fmt", "internal", "io", "log", "maps",
	"math", "net", "os", "reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings", "sync", "syscall", "testing", "text",
	"time", "unicode"}
