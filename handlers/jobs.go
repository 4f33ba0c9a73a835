package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

func (a *App) jobs(ctx context.Context, c echo.Context, f jobs.Filter, cursor jobs.Cursor) error {
	until, err := a.Store.Now(ctx) // before anything is read: what comes later is not what the reader has seen
	if err != nil {
		return err
	}
	page, err := a.readJobs(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	m := views.NewJobsModel(page, f, cursor, until, a.counts(ctx, f), a.kinds(ctx), a.jobQueues(ctx))
	waiting, err := a.Store.Waiting(ctx, page.Items)
	if err != nil {
		return err
	}
	m.SayWaits(waiting)
	frame := a.frame(c, "jobs", views.JobsTitle(f), engine.TopicJobs)
	frame.Lead, frame.Search = views.JobsLead(f), ""
	frame.Actions = views.JobsActions(m)
	return show(c, views.Jobs(frame, m), views.JobsUpdate(m))
}

// counts returns the counts by state, or nil if they take too long: a list without counts is better
// than none.
func (a *App) counts(ctx context.Context, f jobs.Filter) map[jobs.State]jobs.Count {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout/2)
	defer cancel()
	counts, err := a.Store.Counts(ctx, f)
	if err != nil {
		return nil
	}
	return counts
}

// kinds returns the kinds that jobs have, and those that could be submitted.
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
	id, err := jobID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readShown(ctx, id)
	if err != nil {
		return err
	}
	recent, err := a.Store.Recent(ctx, detail.Kind, views.RecentRuns)
	if err != nil {
		return err
	}
	m := views.NewJobModel(detail, recent, a.VHost, a.QueuePrefix)
	if detail.State == jobs.Dead {
		if m.Failure, m.Alike, err = a.Store.FailureOf(ctx, id); err != nil && !errors.Is(err, jobs.ErrNotFound) { // retried meanwhile
			return err
		}
	}
	if (a.Registry.Lookup(detail.Kind) != nil || a.isExternal(ctx, detail.Queue)) && lacks(ctx, ViewArgs) == "" {
		m.Again = views.LikeURL(id)
	}
	frame := a.frame(c, "jobs", detail.Kind, jobTopic+id.String(), views.TopicUnnamedJobs, engine.TopicWorkers)
	frame.Badge, frame.Actions = views.JobState(m), views.JobActions(m)
	frame.About = views.IDLine("Job", id.String())
	return show(c, views.Job(frame, m), views.JobUpdate(m))
}

// document returns the handler of a download of a whole part of a job.
func (a *App) document(part store.Document) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := jobID(c)
		if err != nil {
			return err
		}
		ctx := c.Request().Context()
		size, err := a.Store.DocumentSize(ctx, id, part)
		if err != nil {
			return err
		}
		name, mediaType := fmt.Sprintf("job-%s-%s.json", id, part), echo.MIMEApplicationJSON
		if part == store.DocumentMessage {
			name, mediaType = fmt.Sprintf("job-%s-message", id), echo.MIMEOctetStream
		}
		return sendFile(c, name, mediaType, size, a.Store.OpenDocument(ctx, id, part))
	}
}

// jobAction is one of the store's operator actions on a job.
type jobAction func(ctx context.Context, id uuid.UUID, by jobs.Actor) error

// jobDid carries out an action on a job and shows the word as its message.
func jobDid(word string, act jobAction) func(context.Context, uuid.UUID, jobs.Actor) (done, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
		return did("/jobs/"+id.String(), word+"."), act(ctx, id, by)
	}
}

// deleteJob deletes a job and redirects to the list, as the job's page no longer exists.
func (a *App) deleteJob(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	if err := a.Store.Delete(ctx, id, by); err != nil {
		return done{page: "/jobs/" + id.String()}, err
	}
	return did("/jobs", "Deleted job "+id.String()+"."), nil
}

// jobAfter responds to an action with the job as it is afterwards, or with no content if it was
// deleted.
func (a *App) jobAfter(act jobAction) func(context.Context, uuid.UUID, jobs.Actor) (reply, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
		if err := act(ctx, id, by); err != nil {
			return reply{}, err
		}
		detail, err := a.readJob(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) {
			return reply{}, nil
		}
		return reply{body: detail}, err
	}
}

func (a *App) apiJob(c echo.Context) error {
	id, err := jobID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, detail)
}
