package handlers

import (
	"context"
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func (a *App) jobs(c echo.Context) error {
	f, cursor, err := parseFilter(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.readJobs(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	m := views.NewJobsModel(page, f, cursor, a.counts(ctx, f), a.kinds(ctx), a.jobQueues(ctx))
	frame := a.frame(c, "jobs", "Jobs", engine.TopicJobs)
	frame.Lead = "Every job this deployment knows"
	frame.Actions = views.NewJobButton()
	return show(c, views.Jobs(frame, m), views.JobsList(m))
}

// counts are left out, not waited for: a list without counts is better than none.
func (a *App) counts(ctx context.Context, f jobs.Filter) map[jobs.State]jobs.Count {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout/2)
	defer cancel()
	counts, err := a.Store.Counts(ctx, f)
	if err != nil {
		return nil
	}
	return counts
}

// kinds are those that jobs have, and those that could be submitted.
func (a *App) kinds(ctx context.Context) []string {
	list, _ := a.Store.JobKinds(ctx)
	for _, k := range a.Registry.Kinds() {
		list = appendNew(list, k.Name)
	}
	return list
}

func (a *App) jobQueues(ctx context.Context) []string {
	list, _ := a.Store.JobQueues(ctx)
	return appendNew(list, jobs.QueueDefault)
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func (a *App) job(c echo.Context) error {
	id, err := idOf(c, "job")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	m := views.NewJobModel(detail, a.VHost, a.QueuePrefix)
	if detail.State == jobs.Dead {
		if m.Failure, m.Alike, err = a.Store.FailureOf(ctx, id); err != nil && !errors.Is(err, jobs.ErrNotFound) { // retried meanwhile
			return err
		}
	}
	frame := a.frame(c, "jobs", detail.Kind, "job-"+id.String())
	frame.Badge, frame.Actions = views.JobState(m), views.JobActions(m)
	frame.Lead = "Job " + id.String()
	return show(c, views.Job(frame, m), views.JobUpdate(m))
}

// act does an operator's action and comes back to where the form was, or to the job, with a line that says what was done.
func (a *App) act(done string, do action) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := idOf(c, "job")
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		here := back(c, "/jobs/"+id.String())
		err = do(ctx, id, a.by(c))
		var notAllowed *jobs.NotAllowedError
		var keyTaken *jobs.KeyTakenError
		if errors.As(err, &notAllowed) || errors.As(err, &keyTaken) {
			return redirect(c, here, ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: problemOf(err).Detail})
		}
		if err != nil {
			return err
		}
		if done == "Deleted" {
			return redirect(c, back(c, "/jobs"), ui.FlashProps{Kind: "done", Text: "Deleted job " + id.String() + "."})
		}
		return redirect(c, here, ui.FlashProps{Kind: "done", Text: done + "."})
	}
}

// chosenKind is the kind that the form is for: the one asked for, or the first.
func (a *App) chosenKind(name string) (*jobs.Kind, error) {
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

func (a *App) newJob(c echo.Context) error {
	kind, err := a.chosenKind(c.QueryParam("kind"))
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	values := map[string]string{"args": "{\n  \n}"}
	if kind != nil {
		for _, f := range kind.Fields {
			values["args."+f.Name] = f.Default
		}
	}
	m := views.NewJobForm(a.Registry, kind, a.jobQueues(ctx), values, nil, c.QueryParam("as") == "json")
	return render(c, 200, views.NewJob(a.newJobFrame(c), m))
}

func (a *App) newJobFrame(c echo.Context) views.Page {
	frame := a.frame(c, "jobs", "New job")
	frame.Lead = "Submitted through the outbox, like every job"
	return frame
}

// createJob takes the form. What was wrong is shown beside the fields, which keep what was typed.
func (a *App) createJob(c echo.Context) error {
	form, err := c.FormParams()
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
	id, duplicate, err := a.enqueue(ctx, job, unreadable)
	if err == nil {
		flash := ui.FlashProps{Kind: "done", Text: "Submitted."}
		if duplicate {
			flash = ui.FlashProps{Kind: "note", Text: "An open job has this unique key already: here it is.", Detail: "No second one was added."}
		}
		return redirect(c, "/jobs/"+id.String(), flash)
	}
	var wrong jobs.FieldErrors
	if !errors.As(err, &wrong) {
		return err
	}
	values := map[string]string{}
	for name := range form {
		values[name] = form.Get(name)
	}
	m := views.NewJobForm(a.Registry, kind, a.jobQueues(ctx), values, wrong, asJSON)
	return render(c, 422, views.NewJob(a.newJobFrame(c), m))
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
