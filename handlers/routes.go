package handlers

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

// Dashboard returns the handler of all routes. It needs Access.
func (a *App) Dashboard() http.Handler { return a.handler(a.routes) }

// Health returns the handler of health and metrics alone.
func (a *App) Health() http.Handler {
	return a.handler(func(e *echo.Echo) { a.healthRoutes(newTable(e)) })
}

func (a *App) handler(routes func(*echo.Echo)) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	routes(e)
	return readWhole(a.mounted(a.CrossOrigin(e)))
}

// routes is the one route table, with the right that each route needs.
func (a *App) routes(e *echo.Echo) {
	t := newTable(e)
	e.HTTPErrorHandler = a.HandleError
	e.IPExtractor = a.Access.clientIP
	e.Use(
		middleware.GzipWithConfig(middleware.GzipConfig{Level: 5, MinLength: 1024, Skipper: isSentAsIs}),
		t.limitBody, a.ownHost, onlyJSON, a.enter(t), t.authorize, a.readOnly, newTurns(a.Store.Connections()).take(t.open), continueTrace)
	t.get(Open, "/static/*", echo.WrapHandler(static.Handler()))
	t.get(Open, "/favicon.ico", func(c echo.Context) error {
		return c.Redirect(http.StatusMovedPermanently, at(c, static.URL("favicon.svg")))
	})
	a.healthRoutes(t)
	t.get(Open, "/login", a.loginPage)
	t.post(Open, "/login", a.login)
	t.post(Open, "/logout", a.logout)
	t.post(View, "/logout/everywhere", a.logoutEverywhere)

	t.get(View, "/", a.overview)
	t.get(View, "/jobs", listPage(parseFilter, a.jobs))
	t.get(Submit, "/jobs/new", a.newJob)
	t.post(Submit, "/jobs/new", a.changeJobForm)
	t.post(Submit, "/jobs", a.createJob)
	t.post(Retry, "/jobs/retry", action(a, parseTicked, a.onTicked(jobs.ActionRetry)))
	t.post(Retry, "/jobs/run", action(a, parseTicked, a.onTicked(jobs.ActionRun)))
	t.post(Cancel, "/jobs/cancel", action(a, parseTicked, a.onTicked(jobs.ActionCancel)))
	t.post(Delete, "/jobs/delete", action(a, parseTicked, a.onTicked(jobs.ActionDelete)))
	t.post(Retry, "/jobs/all/retry", action(a, parseMatching, a.onMatching(jobs.ActionRetry)))
	t.post(Retry, "/jobs/all/run", action(a, parseMatching, a.onMatching(jobs.ActionRun)))
	t.post(Cancel, "/jobs/all/cancel", action(a, parseMatching, a.onMatching(jobs.ActionCancel)))
	t.post(Delete, "/jobs/all/delete", action(a, withReason(parseMatching), a.onMatching(jobs.ActionDelete)))
	t.get(View, "/jobs/:id", a.job)
	t.get(ViewArgs, "/jobs/:id/args", a.document(store.DocumentArgs))
	t.get(ViewArgs, "/jobs/:id/output", a.document(store.DocumentOutput))
	t.get(ViewArgs, "/jobs/:id/message", a.document(store.DocumentMessage))
	t.post(Retry, "/jobs/:id/retry", action(a, jobID, jobDid("Retried", a.Store.Retry)))
	t.post(Cancel, "/jobs/:id/cancel", action(a, jobID, jobDid("Cancelled", a.Store.Cancel)))
	t.post(Retry, "/jobs/:id/run", action(a, jobID, jobDid("Queued to run now", a.Store.RunNow)))
	t.post(Delete, "/jobs/:id/delete", action(a, jobID, a.deleteJob))
	t.get(View, "/tasks", listPage(parseTaskPage, a.tasks))
	t.get(View, "/tasks/board", a.taskBoard)
	t.get(Edit, "/tasks/new", a.newTask)
	t.post(Edit, "/tasks/new", a.createTask)
	t.get(Edit, "/tasks/import", a.taskImport)
	t.post(Edit, "/tasks/import", a.uploadTasks)
	t.get(View, "/tasks/import/:id", a.importResult)
	t.get(ViewArgs, "/tasks/imports/:id/refused.csv", a.refusedLines)
	t.post(Submit, "/tasks/export", a.exportTasks)
	t.get(View, "/tasks/:id", a.task)
	t.get(Edit, "/tasks/:id/edit", a.editTask)
	t.post(Edit, "/tasks/:id/edit", a.saveTask)
	t.post(Edit, "/tasks/:id/done", action(a, taskID, a.finishTask))
	t.post(Edit, "/tasks/:id/reopen", action(a, taskID, a.reopenTask))
	t.post(Edit, "/tasks/:id/priority", a.setPriority)
	t.post(Submit, "/tasks/:id/run", action(a, taskID, a.runTaskPage))
	t.post(Delete, "/tasks/:id/delete", action(a, taskID, a.deleteTask))
	t.get(View, "/schedules", listPage(parseSchedules, a.schedules))
	t.get(Edit, "/schedules/new", a.newSchedule)
	t.post(Edit, "/schedules/new", a.createSchedule)
	t.get(View, "/schedules/preview", a.previewSchedule)
	t.get(View, "/schedules/:id", a.schedule)
	t.get(Edit, "/schedules/:id/edit", a.editSchedule)
	t.post(Edit, "/schedules/:id/edit", a.saveSchedule)
	t.post(Edit, "/schedules/:id/pause", action(a, scheduleID, scheduleDid("Paused", a.Store.PauseSchedule)))
	t.post(Edit, "/schedules/:id/resume", action(a, scheduleID, scheduleDid("Resumed", a.Store.ResumeSchedule)))
	t.post(Submit, "/schedules/:id/run", action(a, scheduleID, a.runSchedule))
	t.post(Delete, "/schedules/:id/delete", action(a, scheduleID, a.deleteSchedule))
	t.get(ViewArgs, "/files/:id", a.file)
	t.get(View, "/failures", listPage(parseShownFailures, a.failures))
	t.get(View, "/failures/:id", a.failure)
	t.post(Retry, "/failures/:id/retry", action(a, parseGroup, groupDid("Retried", a.Store.RetryFailure)))
	t.post(Delete, "/failures/:id/delete", action(a, withReason(parseGroup), groupDid("Deleted", a.Store.DeleteFailure)))
	t.post(Retry, "/failures/:id/known", action(a, parseMarking(noteOfForm), a.markFailure(jobs.FailureKnown)))
	t.post(Retry, "/failures/:id/fixed", action(a, parseMarking(noteOfForm), a.markFailure(jobs.FailureFixed)))
	t.post(Retry, "/failures/:id/reopen", action(a, parseMarking(noteOfForm), a.markFailure(jobs.FailureOpen)))
	t.get(View, "/queues", listPage(parseQueues, a.queues))
	t.get(View, "/queues/:vhost/:name", a.queue)
	t.post(Queues, "/queues/:vhost/:name/pause", action(a, a.queueTarget, queueDid("Paused", pausedText, a.Store.PauseQueue)))
	t.post(Queues, "/queues/:vhost/:name/resume", action(a, a.queueTarget, queueDid("Resumed", "", a.Store.ResumeQueue)))
	t.post(Queues, "/queues/:vhost/:name/external", a.setExternal)
	t.post(Queues, "/queues/:vhost/:name/purge", a.purgeQueue)
	t.post(Queues, "/queues/:vhost/:name/purges/:id/undo", action(a, a.purgeTarget, a.undoPurge))
	t.get(ViewArgs, "/tail", a.tail)
	t.get(Queues, "/publish", a.publishForm)
	t.post(Queues, "/publish", a.publish)
	t.get(View, "/outbox", listPage(parseOutbox, a.outbox))
	t.post(Manage, "/outbox/retry", action(a, nothing, a.retryFailingOutbox))
	t.post(Manage, "/outbox/:id/retry", action(a, outboxID, a.retryOutbox))
	t.post(Manage, "/outbox/:id/discard", action(a, outboxID, a.discardOutbox))
	t.get(View, "/events", listPage(parseEventFilter, a.events))
	t.get(View, "/events/:id", a.event)
	t.get(View, "/events/subscribers", a.subscribers)
	t.get(Retry, "/events/subscribers/:name/replay", a.replayPage)
	t.post(Retry, "/events/subscribers/:name/replay", action(a, parseReplay(spanOfForm), a.replay))
	t.get(View, "/workers", listPage(parseProcesses, a.workers))
	t.post(Processes, "/workers/:id/quiet", action(a, processID, a.askProcess(engine.CommandQuiet)))
	t.post(Processes, "/workers/:id/resume", action(a, processID, a.askProcess(engine.CommandResume)))
	t.post(Processes, "/workers/:id/stop", action(a, processID, a.askProcess(engine.CommandStop)))
	t.get(Audit, "/audit", listPage(parseAudit, a.audit))
	t.get(View, "/live", a.live)
	t.get(View, "/health-pills", a.healthPills)
	t.post(View, "/settings/theme", a.setTheme)
	t.post(View, "/settings/timezone", a.setZone)

	t.get(View, "/api/v1/kinds", a.apiKinds)
	t.post(Submit, "/api/v1/jobs", a.apiCreateJobs)
	t.get(View, "/api/v1/jobs", list(parseFilter, a.readJobs))
	t.post(Retry, "/api/v1/jobs/retry", action(a, parseMatching, a.matchingReply(jobs.ActionRetry)))
	t.post(Retry, "/api/v1/jobs/run", action(a, parseMatching, a.matchingReply(jobs.ActionRun)))
	t.post(Cancel, "/api/v1/jobs/cancel", action(a, parseMatching, a.matchingReply(jobs.ActionCancel)))
	t.remove(Delete, "/api/v1/jobs", action(a, parseMatching, a.matchingReply(jobs.ActionDelete)))
	t.get(View, "/api/v1/jobs/:id", a.apiJob)
	t.post(Retry, "/api/v1/jobs/:id/retry", action(a, jobID, a.jobAfter(a.Store.Retry)))
	t.post(Cancel, "/api/v1/jobs/:id/cancel", action(a, jobID, a.jobAfter(a.Store.Cancel)))
	t.post(Retry, "/api/v1/jobs/:id/run", action(a, jobID, a.jobAfter(a.Store.RunNow)))
	t.remove(Delete, "/api/v1/jobs/:id", action(a, jobID, a.jobAfter(a.Store.Delete)))
	t.get(View, "/api/v1/tasks", list(parseTaskFilter, a.readTasks))
	t.post(Edit, "/api/v1/tasks", a.apiCreateTask)
	t.post(Edit, "/api/v1/tasks/import", a.apiImportTasks)
	t.get(View, "/api/v1/tasks/index", a.apiTaskIndex)
	t.get(View, "/api/v1/tasks/:id", action(a, taskID, a.taskAfter(a.apiTask)))
	t.put(Edit, "/api/v1/tasks/:id", a.apiEditTask)
	t.post(Edit, "/api/v1/tasks/:id/done", action(a, taskID, a.taskAfter(a.apiFinishTask)))
	t.post(Edit, "/api/v1/tasks/:id/reopen", action(a, taskID, a.taskAfter(a.apiReopenTask)))
	t.post(Submit, "/api/v1/tasks/:id/run", action(a, taskID, a.apiRunTask))
	t.get(View, "/api/v1/tasks/:id/events", a.apiTaskEvents)
	t.remove(Delete, "/api/v1/tasks/:id", action(a, taskID, a.apiDeleteTask))
	t.get(View, "/api/v1/schedules", list(parseScheduleFilter, a.readSchedules))
	t.post(Edit, "/api/v1/schedules", a.apiCreateSchedule)
	t.get(View, "/api/v1/schedules/:id", action(a, scheduleID, scheduleReply(a.readSchedule)))
	t.put(Edit, "/api/v1/schedules/:id", a.apiEditSchedule)
	t.get(View, "/api/v1/schedules/:id/history", list(scheduleID, a.readFirings))
	t.post(Edit, "/api/v1/schedules/:id/pause", action(a, scheduleID, scheduleReply(a.Store.PauseSchedule)))
	t.post(Edit, "/api/v1/schedules/:id/resume", action(a, scheduleID, scheduleReply(a.Store.ResumeSchedule)))
	t.post(Submit, "/api/v1/schedules/:id/run", action(a, scheduleID, a.apiRunSchedule))
	t.remove(Delete, "/api/v1/schedules/:id", action(a, scheduleID, a.apiDeleteSchedule))
	t.get(View, "/api/v1/failures", list(parseFailureFilter, a.readFailures))
	t.post(Retry, "/api/v1/failures/:id/retry", action(a, parseGroup, groupReply(a.Store.RetryFailure)))
	t.remove(Delete, "/api/v1/failures/:id", action(a, parseGroup, groupReply(a.Store.DeleteFailure)))
	t.post(Retry, "/api/v1/failures/:id/known", action(a, parseMarking(noteOfJSON), a.apiMarkFailure(jobs.FailureKnown)))
	t.post(Retry, "/api/v1/failures/:id/fixed", action(a, parseMarking(noteOfJSON), a.apiMarkFailure(jobs.FailureFixed)))
	t.post(Retry, "/api/v1/failures/:id/reopen", action(a, parseMarking(noteOfJSON), a.apiMarkFailure(jobs.FailureOpen)))
	t.get(View, "/api/v1/queues", list(nothing, a.readQueues))
	t.get(View, "/api/v1/queues/:vhost/:name/redeliveries", list(a.redeliveryTarget, a.readRedeliveries))
	t.post(Queues, "/api/v1/queues/:vhost/:name/pause", action(a, a.queueTarget, queueReply(a.Store.PauseQueue)))
	t.post(Queues, "/api/v1/queues/:vhost/:name/resume", action(a, a.queueTarget, queueReply(a.Store.ResumeQueue)))
	t.put(Queues, "/api/v1/queues/:vhost/:name/external", a.apiSetExternal)
	t.post(Queues, "/api/v1/queues/:vhost/:name/purge", a.apiPurgeQueue)
	t.post(Queues, "/api/v1/queues/:vhost/:name/purges/:id/undo", action(a, a.purgeTarget, a.apiUndoPurge))
	t.post(Queues, "/api/v1/messages", a.apiPublish)
	t.get(View, "/api/v1/outbox", list(parseOutbox, a.Store.OutboxRows))
	t.post(Manage, "/api/v1/outbox/:id/retry", action(a, outboxID, a.apiRetryOutbox))
	t.remove(Manage, "/api/v1/outbox/:id", action(a, outboxID, a.apiDiscardOutbox))
	t.get(View, "/api/v1/events", list(parseEventFilter, a.readEvents))
	t.get(View, "/api/v1/events/:id", a.apiEvent)
	t.get(View, "/api/v1/subscribers", a.apiSubscribers)
	t.post(Retry, "/api/v1/subscribers/:name/replay", action(a, parseReplay(spanOfJSON), a.apiReplay))
	t.get(View, "/api/v1/workers", list(parseProcesses, a.Store.Processes))
	t.post(Processes, "/api/v1/workers/:id/quiet", action(a, processID, a.apiAskProcess(engine.CommandQuiet)))
	t.post(Processes, "/api/v1/workers/:id/resume", action(a, processID, a.apiAskProcess(engine.CommandResume)))
	t.post(Processes, "/api/v1/workers/:id/stop", action(a, processID, a.apiAskProcess(engine.CommandStop)))
	t.get(Audit, "/api/v1/audit", list(parseAudit, a.Store.Audit))
}

const pausedText = "Its new jobs wait in the outbox. Jobs that the broker already has are still processed."

// isSentAsIs reports whether a response is not compressed here: those compressed elsewhere, the
// stream, of which each line must leave at once, and downloads, whose length tells the browser when
// one was cut off.
func isSentAsIs(c echo.Context) bool {
	path := c.Request().URL.Path
	return path == "/live" || path == "/metrics" || strings.HasPrefix(path, static.Prefix) || strings.HasPrefix(path, "/files/") ||
		strings.HasSuffix(path, ".csv") || isDocument(c)
}

// isDocument reports whether a request downloads a part of a job.
func isDocument(c echo.Context) bool {
	return c.Request().Method != http.MethodPost && strings.HasPrefix(c.Path(), "/jobs/:id/")
}

// healthRoutes registers the routes that every role may serve.
func (a *App) healthRoutes(t table) {
	t.get(Open, "/healthz", a.healthz)
	t.get(Open, "/readyz", a.readyz)
	t.get(View, "/metrics", echo.WrapHandler(a.Metrics))
}

func (a *App) setSecurityHeaders(h http.Header) {
	policy := views.CSP
	if a.CSP != nil {
		policy = *a.CSP
	}
	if policy != "" {
		h.Set("Content-Security-Policy", policy)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store") // nothing of ours outlives a sign-out; static files say otherwise
}

// isUpload reports whether the body is a file, which is streamed to the database and may have
// tasks.FileMax bytes.
func isUpload(c echo.Context) bool {
	path := c.Request().URL.Path
	return c.Request().Method == http.MethodPost && (path == "/tasks/import" || path == "/api/v1/tasks/import")
}

// onlyJSON makes the API accept only application/json, and for an upload text/csv: nothing that a
// form could send. It is not the group's own middleware, as echo would then answer a wrong method
// with 404.
func onlyJSON(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		kind := r.Header.Get("Content-Type")
		empty := kind == "" && r.ContentLength == 0
		if isUpload(c) && mediaType(kind) == "text/csv" {
			return next(c)
		}
		if strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodGet && r.Method != http.MethodHead && !empty &&
			mediaType(kind) != "application/json" {
			return echo.NewHTTPError(http.StatusUnsupportedMediaType, "The API takes only application/json.")
		}
		return next(c)
	}
}
