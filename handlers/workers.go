package handlers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

func (a *App) workers(ctx context.Context, c echo.Context, f engine.ProcessFilter, cursor jobs.Cursor) error {
	facts := views.WorkersFacts{Role: f.Role, Cursor: cursor, Self: a.Process, Queue: a.queueURL}
	f.Alive = true
	var err error
	if facts.Page, facts.Totals, err = a.Store.ProcessesWithTotals(ctx, f, cursor, limitDefault); err != nil {
		return err
	}
	if facts.Gone, err = a.Store.GoneProcesses(ctx, f.Role); err != nil {
		return err
	}
	m := views.NewWorkersModel(facts)
	frame := a.frame(c, "workers", "Workers", engine.TopicWorkers, engine.TopicJobs)
	frame.Lead = "All Warren processes and what they are doing"
	return show(c, views.Workers(frame, m), views.WorkersList(m))
}

// queueURL returns the page of a job queue.
func (a *App) queueURL(queue string) string { return views.QueueURL(a.VHost, a.QueuePrefix+queue) }

func processID(c echo.Context) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return id, badRequest("%q is not a valid process id: the list of workers has them.", c.Param("id"))
	}
	return id, nil
}

func parseProcesses(c echo.Context) (f engine.ProcessFilter, err error) {
	f.Role, err = engine.ParseProcessRole(c.QueryParam("role"))
	return f, err
}

// asked holds the message that a page shows after each command to a process.
var asked = map[engine.ProcessCommand]string{
	engine.CommandQuiet:  "%s takes no new jobs and finishes what runs.",
	engine.CommandResume: "%s takes jobs again.",
	engine.CommandStop:   "%s stops: it finishes what runs, as far as its grace time allows.",
}

func (a *App) askProcess(command engine.ProcessCommand) func(context.Context, uuid.UUID, jobs.Actor) (done, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
		p, err := a.Store.AskProcess(ctx, id, command, by)
		return did("/workers", fmt.Sprintf(asked[command], p.Name)), err
	}
}

// apiAskProcess responds with the process, which carries out the command within seconds.
func (a *App) apiAskProcess(command engine.ProcessCommand) func(context.Context, uuid.UUID, jobs.Actor) (reply, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
		p, err := a.Store.AskProcess(ctx, id, command, by)
		if err != nil {
			return reply{}, err
		}
		if now, err := a.Store.Process(ctx, id); err == nil { // it may be gone already
			p = now
		}
		return reply{status: http.StatusAccepted, body: p}, nil
	}
}
