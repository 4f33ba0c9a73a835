package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// chosenKind returns the kind that the form is for: the requested one, or the first.
func (a *App) chosenKind(name string) (*jobs.Kind, error) {
	if name == views.OtherKind {
		return views.OtherKindForm(), nil
	}
	if name != "" {
		if k := a.Registry.Lookup(name); k != nil {
			return k, nil
		}
		return nil, a.Registry.Check(name, nil)
	}
	if all := a.Registry.Kinds(); len(all) > 0 {
		return all[0], nil
	}
	return nil, nil
}

// newJob shows the form of a new job: empty, or filled in with a job, to run it again with changes.
func (a *App) newJob(c echo.Context) error {
	if c.QueryParam("like") != "" {
		return a.newJobLike(c)
	}
	kind, err := a.chosenKind(c.QueryParam("kind"))
	if err != nil {
		return err
	}
	form := url.Values{"args": {"{\n  \n}"}}
	addDefaults(form, kind)
	ctx, cancel := query(c)
	defer cancel()
	offer(form, views.JobUsage{}, a.usual(ctx, kind))
	asJSON := c.QueryParam("as") == "json" || c.QueryParam("kind") == views.OtherKind
	return a.showJobForm(c, http.StatusOK, jobForm{Values: form, kind: kind, asJSON: asJSON})
}

func (a *App) newJobLike(c echo.Context) error {
	id, err := uuid.Parse(c.QueryParam("like"))
	if err != nil {
		return badField("like", "is not a valid job id")
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	name := detail.Kind
	if a.Registry.Lookup(name) == nil && a.isExternal(ctx, detail.Queue) {
		name = views.OtherKind
	}
	kind, err := a.chosenKind(name)
	if err != nil {
		return err
	}
	return a.showJobForm(c, http.StatusOK, formOfJob(detail, kind))
}

// changeJobForm shows the form after a switch of kind, between form and JSON, or of the preview. For htmx, which asks
// while somebody types, it responds with the preview.
func (a *App) changeJobForm(c echo.Context) error {
	values, err := readForm(c)
	if err != nil {
		return err
	}
	kind, err := a.chosenKind(values.Get("kind"))
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	was := a.Registry.Lookup(values.Get(views.FieldsOf))
	if was != nil && kind != nil && was.Name != kind.Name {
		offer(values, a.usual(ctx, was), a.usual(ctx, kind))
	}
	form := switched(values, was, kind)
	if partial(c) {
		return render(c, http.StatusOK, views.Preview(a.preview(ctx, c, form)))
	}
	return a.showJobForm(c, http.StatusOK, form)
}

// usual returns what the newest job of a kind has set otherwise than the kind does. The form offers it: the application
// may send the kind's jobs elsewhere than its default says.
func (a *App) usual(ctx context.Context, kind *jobs.Kind) (u views.JobUsage) {
	if kind == nil || kind.Name == views.OtherKind {
		return u
	}
	page, err := a.Store.Jobs(ctx, jobs.Filter{Kind: kind.Name}, jobs.Cursor{}, 1)
	if err != nil || len(page.Items) == 0 { // without it the form has the defaults
		return u
	}
	queue, attempts, _ := kind.Defaults()
	newest := page.Items[0]
	if newest.Queue != queue {
		u.Queue = newest.Queue
	}
	if n := explain.TriesIn(newest).Max; n != attempts {
		u.Attempts = strconv.Itoa(n)
	}
	return u
}

// offer fills in what jobs of a kind use. What somebody typed stays: only what was offered for the kind before is replaced.
func offer(form url.Values, was, now views.JobUsage) {
	for name, offered := range map[string][2]string{"queue": {was.Queue, now.Queue}, "max_attempts": {was.Attempts, now.Attempts}} {
		if typed := form.Get(name); typed == "" || typed == offered[0] {
			form.Set(name, offered[1])
		}
	}
}

// jobForm is the form of a new job as it is shown.
type jobForm struct {
	url.Values
	kind    *jobs.Kind // nil if no kind is known
	asJSON  bool       // its args are one JSON text
	wrong   jobs.FieldErrors
	problem string // that belongs to no field
}

func (a *App) showJobForm(c echo.Context, status int, f jobForm) error {
	ctx, cancel := query(c)
	defer cancel()
	m := views.NewJobForm(a.Registry, f.kind, a.jobQueues(ctx), firstValues(f.Values), f.wrong, f.asJSON)
	if external, err := a.Store.ExternalQueues(ctx); err == nil && len(external) > 0 || f.kind != nil && f.kind.Name == views.OtherKind {
		m = m.WithOtherKind()
	}
	m.Preview, m.Usual = a.preview(ctx, c, f), a.usual(ctx, f.kind)
	if f.problem != "" {
		m.Problem = f.problem
	}
	return render(c, status, views.NewJob(a.frame(c, "jobs", "New job"), m))
}

// preview returns the job that the form would submit, as the API takes it, and what is still wrong with it.
func (a *App) preview(ctx context.Context, c echo.Context, f jobForm) views.JobPreview {
	scheme := "http"
	if isHTTPS(c.Request()) {
		scheme = "https"
	}
	job, unreadable := jobOfForm(f.Values, f.kind, f.asJSON)
	p := views.JobPreview{Show: cmp.Or(f.Get("tab"), f.Get("show")), API: scheme + "://" + c.Request().Host + at(c, "/api/v1/jobs"),
		Password: a.Access.asksForPassword(), Request: requestOfForm(f.Values, job)}
	needed, wrong := views.MissingFields(f.kind, a.prepare(ctx, &job, unreadable))
	p.Needed, p.Wrong = needed, views.FieldSentences(f.kind, wrong)
	around, err := a.Store.AroundQueue(ctx, job.Queue)
	if err == nil && job.Queue != "" && around.Unworked() {
		p.Unworked = job.Queue
	}
	return p
}

// createJob handles the form of a new job. Errors are shown beside the fields, or above them; the
// typed values are kept in any case, also when the database is away.
func (a *App) createJob(c echo.Context) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	kind, err := a.chosenKind(form.Get("kind"))
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	asJSON := form.Get("as") == "json"
	job, unreadable := jobOfForm(form, kind, asJSON)
	job.RetryOf, _ = uuid.Parse(form.Get("retry_of")) // it is only shown
	id, duplicate, err := a.enqueue(ctx, job, unreadable)
	if err == nil {
		flash := ui.FlashProps{Kind: "done", Text: "Submitted."}
		if duplicate {
			flash = ui.FlashProps{Kind: "note", Text: "A job with this unique key is already open. Showing it."}
		}
		return redirect(c, "/jobs/"+id.String(), flash)
	}
	p := a.problem(c, err)
	shown := jobForm{Values: form, kind: kind, asJSON: asJSON}
	if !errors.As(err, &shown.wrong) {
		shown.problem = p.Detail
	}
	return a.showJobForm(c, p.Status, shown)
}

func splitTags(s string) []string {
	var tags []string
	for t := range strings.SplitSeq(s, ",") {
		if t = strings.TrimSpace(t); t != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

// jobRequest is the body of POST /api/v1/jobs.
type jobRequest struct {
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue"`
	RunAt       *string         `json:"run_at"`
	MaxAttempts *int            `json:"max_attempts"`
	UniqueKey   *string         `json:"unique_key"`
	Tags        []string        `json:"tags"`
	Timeout     *string         `json:"timeout"`
}

// job reads the request; the errors name the fields that could not be read.
func (r jobRequest) job(now time.Time) (jobs.NewJob, jobs.FieldErrors) {
	j := jobs.NewJob{Kind: r.Kind, Args: r.Args, Queue: r.Queue, Tags: r.Tags, Origin: "api"}
	var errs jobs.FieldErrors
	if r.RunAt != nil {
		at, err := jobs.ParseTime(*r.RunAt, now)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "run_at", Message: err.Error()})
		}
		j.RunAt = at
	}
	if r.Timeout != nil {
		d, err := time.ParseDuration(*r.Timeout)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "timeout", Message: fmt.Sprintf("%q is not a valid duration. Use 30s or 5m",
				*r.Timeout)})
		}
		j.Timeout = d
	}
	if r.MaxAttempts != nil {
		if j.MaxAttempts = *r.MaxAttempts; j.MaxAttempts == 0 {
			errs = append(errs, jobs.FieldError{Field: "max_attempts", Message: "must be at least 1"})
		}
	}
	if r.UniqueKey != nil {
		j.UniqueKey = *r.UniqueKey
	}
	return j, errs
}

// apiJob is a job in a response; duplicate marks the open job of a taken unique key.
type apiJob struct {
	jobs.Detail
	Duplicate bool `json:"duplicate,omitempty"`
}

// bulkMax is the maximum number of jobs in one request.
const bulkMax = 1000

// apiCreateJobs enqueues the job of the body, or all jobs of a list.
func (a *App) apiCreateJobs(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		return a.createBulk(c, body)
	}
	var req jobRequest
	unreadable, err := readObject(body, &req)
	if err != nil {
		return err
	}
	job, more := req.job(time.Now())
	ctx, cancel := query(c)
	defer cancel()
	id, duplicate, err := a.enqueue(ctx, job, append(unreadable, more...))
	if err != nil {
		return err
	}
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if duplicate {
		status = http.StatusOK
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/jobs/"+id.String()))
	return c.JSON(status, apiJob{detail, duplicate})
}

// addedJob is the response to one job of a list.
type addedJob struct {
	ID        uuid.UUID `json:"id"`
	Duplicate bool      `json:"duplicate"`
}

// createBulk enqueues all jobs of a list in one transaction, or none: its errors name fields such as
// 3.args.text, of the fourth job.
func (a *App) createBulk(c echo.Context, body []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return badRequest("The body is not valid JSON: %v.", err)
	}
	if len(list) == 0 || len(list) > bulkMax {
		return badRequest("A list has 1 to %d jobs; this one has %d.", bulkMax, len(list))
	}
	ctx, cancel := query(c)
	defer cancel()
	batch := make([]jobs.NewJob, len(list))
	var all jobs.FieldErrors
	for i, raw := range list {
		var wrong jobs.FieldErrors
		batch[i], wrong = a.jobOf(ctx, raw)
		for _, e := range wrong {
			all = append(all, jobs.FieldError{Field: fmt.Sprintf("%d.%s", i, e.Field), Message: e.Message})
		}
	}
	if len(all) > 0 {
		return all
	}
	if err := a.checkQueues(ctx, batch); err != nil {
		return err
	}
	added, err := a.Store.Enqueue(ctx, batch...)
	if err != nil {
		return err
	}
	page := jobs.Page[addedJob]{}
	for _, j := range added {
		page.Items = append(page.Items, addedJob{j.ID, j.Duplicate})
	}
	return c.JSON(http.StatusCreated, page)
}

// checkQueues is checkQueue for each queue of a list.
func (a *App) checkQueues(ctx context.Context, batch []jobs.NewJob) error {
	seen := map[string]bool{}
	for i, job := range batch {
		if seen[job.Queue] {
			continue
		}
		seen[job.Queue] = true
		if err := a.checkQueue(ctx, fmt.Sprintf("%d.queue", i), job.Kind, job.Queue); err != nil {
			return err
		}
	}
	return nil
}

// jobOf reads and validates one job of a list.
func (a *App) jobOf(ctx context.Context, raw json.RawMessage) (jobs.NewJob, jobs.FieldErrors) {
	var req jobRequest
	unreadable, err := readObject(raw, &req)
	if err != nil {
		return jobs.NewJob{}, jobs.FieldErrors{{Field: "job", Message: "must be a JSON object"}}
	}
	job, more := req.job(time.Now())
	wrong := a.prepare(ctx, &job, append(unreadable, more...))
	return job, wrong
}

// prepare validates a job. The fields that could not be read are returned together with the invalid
// ones, so that a user sees all errors at once. A queue that other programs work takes any kind.
func (a *App) prepare(ctx context.Context, job *jobs.NewJob, unreadable jobs.FieldErrors) jobs.FieldErrors {
	check := a.Registry.Prepare
	if a.Registry.Lookup(job.Kind) == nil && a.isExternal(ctx, job.Queue) {
		check = (*jobs.NewJob).Prepare
	}
	var wrong jobs.FieldErrors
	errors.As(check(job), &wrong)
	return addNew(unreadable, wrong)
}

// enqueue validates and adds one job; duplicate means that id is the open job of its unique key.
func (a *App) enqueue(ctx context.Context, job jobs.NewJob, unreadable jobs.FieldErrors) (id uuid.UUID, duplicate bool, err error) {
	if wrong := a.prepare(ctx, &job, unreadable); len(wrong) > 0 {
		return id, false, wrong
	}
	if err := a.checkQueue(ctx, "queue", job.Kind, job.Queue); err != nil {
		return id, false, err
	}
	added, err := a.Store.Enqueue(ctx, job)
	if err != nil {
		return id, false, err
	}
	return added[0].ID, added[0].Duplicate, nil
}

// checkQueue refuses a queue that nobody uses yet: with each job for an invented name the broker
// would get one more queue, and the job would wait there for ever.
func (a *App) checkQueue(ctx context.Context, field, kind, queue string) error {
	usual := jobs.QueueDefault
	if k := a.Registry.Lookup(kind); k != nil {
		usual, _, _ = k.Defaults()
	}
	if queue == "" || queue == jobs.QueueDefault || queue == usual {
		return nil
	}
	known, err := a.Store.KnowsQueue(ctx, queue, a.QueuePrefix+queue)
	if err != nil || known {
		return err
	}
	return badField(field, fmt.Sprintf("%q is not in use: no worker has taken jobs from it, and no job was sent to it from Go or the "+
		"command line. Start a worker for it first (WARREN_QUEUES)", queue))
}

// apiKind is a kind in a response.
type apiKind struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Queue       string          `json:"queue"`
	MaxAttempts int             `json:"max_attempts"`
	Timeout     jobs.Duration   `json:"timeout"`
	Schema      json.RawMessage `json:"schema"`
}

// apiKinds lists the kinds whose jobs can be submitted here, with the schema of their args.
func (a *App) apiKinds(c echo.Context) error {
	page := jobs.Page[apiKind]{}
	for _, k := range a.Registry.Kinds() {
		queue, attempts, timeout := k.Defaults()
		page.Items = append(page.Items, apiKind{k.Name, k.Description, queue, attempts, jobs.Duration(timeout), k.Schema})
	}
	return c.JSON(http.StatusOK, page)
}
