package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/views"
)

// Dashboard answers everything. It needs Access.
func (a *App) Dashboard() http.Handler { return a.handler(a.routes) }

// Health answers health and metrics alone.
func (a *App) Health() http.Handler { return a.handler(a.healthRoutes) }

func (a *App) handler(routes func(*echo.Echo)) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	routes(e)
	return a.CrossOrigin(e)
}

// routes is the one table of what the server answers.
func (a *App) routes(e *echo.Echo) {
	e.HTTPErrorHandler = a.HandleError
	e.IPExtractor = a.Access.IP()
	e.Use(secureHeaders, middleware.GzipWithConfig(middleware.GzipConfig{Level: 5, MinLength: 1024, Skipper: isSentAsIs}), middleware.BodyLimitWithConfig(middleware.BodyLimitConfig{Limit: "1M", Skipper: isUpload}), a.ownHost, onlyJSON, a.enter, a.readOnly, continueTrace)
	e.GET("/static/*", echo.WrapHandler(static.Handler()))
	e.GET("/favicon.ico", func(c echo.Context) error { return c.Redirect(http.StatusMovedPermanently, static.URL("favicon.svg")) })
	a.healthRoutes(e)
	e.GET("/login", a.loginPage)
	e.POST("/login", a.login)
	e.POST("/logout", a.logout)

	e.GET("/", a.overview)
	e.GET("/jobs", a.jobs)
	e.GET("/jobs/new", a.newJob)
	e.POST("/jobs", a.createJob)
	e.GET("/jobs/:id", a.job)
	e.POST("/jobs/:id/retry", a.act("Retried", a.Store.Retry))
	e.POST("/jobs/:id/cancel", a.act("Cancelled", a.Store.Cancel))
	e.POST("/jobs/:id/run", a.act("Queued to run now", a.Store.RunNow))
	e.POST("/jobs/:id/delete", a.act("Deleted", a.Store.Delete))
	e.GET("/tasks", a.tasks)
	e.GET("/tasks/board", a.taskBoard)
	e.GET("/tasks/new", a.newTask)
	e.POST("/tasks/new", a.createTask)
	e.GET("/tasks/import", a.taskImport)
	e.POST("/tasks/import", a.uploadTasks)
	e.GET("/tasks/imports/:id/refused.csv", a.refusedLines)
	e.POST("/tasks/export", a.exportTasks)
	e.GET("/tasks/:id", a.task)
	e.GET("/tasks/:id/edit", a.editTask)
	e.POST("/tasks/:id/edit", a.saveTask)
	e.POST("/tasks/:id/done", a.setDone(true))
	e.POST("/tasks/:id/reopen", a.setDone(false))
	e.POST("/tasks/:id/priority", a.setPriority)
	e.POST("/tasks/:id/run", a.runTask)
	e.POST("/tasks/:id/delete", a.deleteTask)
	e.GET("/schedules/preview", a.previewSchedule)
	e.GET("/files/:id", a.file)
	e.GET("/failures", a.failures)
	e.GET("/failures/:id", a.failure)
	e.POST("/failures/:id/retry", a.actOnFailure("Retried", a.Store.RetryFailure))
	e.POST("/failures/:id/delete", a.actOnFailure("Deleted", a.Store.DeleteFailure))
	e.GET("/queues", a.queues)
	e.GET("/queues/:vhost/:name", a.queue)
	e.GET("/queues/:vhost/:name/samples.json", a.queueSamples)
	e.POST("/queues/:vhost/:name/pause", a.actOnQueue("Its jobs stay in the outbox until it is resumed. What the broker has already is still worked.", a.Store.PauseQueue))
	e.POST("/queues/:vhost/:name/resume", a.actOnQueue("Its jobs are sent again.", a.Store.ResumeQueue))
	e.POST("/queues/:vhost/:name/purge", a.purgeQueue)
	e.POST("/queues/:vhost/:name/purges/:id/undo", a.undoPurge)
	e.GET("/overview/samples.json", a.overviewSamples)
	e.GET("/outbox", a.outbox)
	e.POST("/outbox/retry", a.retryFailingOutbox)
	e.POST("/outbox/:id/retry", a.retryOutbox)
	e.POST("/outbox/:id/discard", a.discardOutbox)
	e.GET("/workers", a.workers)
	e.POST("/workers/:id/quiet", a.askProcess(jobs.WishQuiet))
	e.POST("/workers/:id/resume", a.askProcess(jobs.WishResume))
	e.POST("/workers/:id/stop", a.askProcess(jobs.WishStop))
	e.GET("/audit", a.audit)
	e.GET("/live", a.live)
	e.GET("/health-pills", a.healthPills)
	e.POST("/settings/theme", a.setTheme)
	e.POST("/settings/timezone", a.setZone)

	api := e.Group("/api/v1")
	api.POST("/jobs", a.apiCreateJob)
	api.GET("/jobs", a.apiJobs)
	api.GET("/jobs/:id", a.apiJob)
	api.POST("/jobs/:id/retry", a.apiAct(a.Store.Retry))
	api.POST("/jobs/:id/cancel", a.apiAct(a.Store.Cancel))
	api.POST("/jobs/:id/run", a.apiAct(a.Store.RunNow))
	api.DELETE("/jobs/:id", a.apiAct(a.Store.Delete))
	api.GET("/tasks", a.apiTasks)
	api.POST("/tasks", a.apiCreateTask)
	api.POST("/tasks/import", a.apiImportTasks)
	api.GET("/tasks/:id", a.apiTask)
	api.PUT("/tasks/:id", a.apiEditTask)
	api.POST("/tasks/:id/done", a.apiSetDone(true))
	api.POST("/tasks/:id/reopen", a.apiSetDone(false))
	api.POST("/tasks/:id/run", a.apiRunTask)
	api.GET("/tasks/:id/events", a.apiTaskEvents)
	api.DELETE("/tasks/:id", a.apiDeleteTask)
	api.GET("/failures", a.apiFailures)
	api.POST("/failures/:id/retry", a.apiActOnFailure(a.Store.RetryFailure))
	api.DELETE("/failures/:id", a.apiActOnFailure(a.Store.DeleteFailure))
	api.GET("/queues", a.apiQueues)
	api.GET("/queues/:vhost/:name/redeliveries", a.apiRedeliveries)
	api.POST("/queues/:vhost/:name/pause", a.apiActOnQueue(a.Store.PauseQueue))
	api.POST("/queues/:vhost/:name/resume", a.apiActOnQueue(a.Store.ResumeQueue))
	api.POST("/queues/:vhost/:name/purge", a.apiPurgeQueue)
	api.POST("/queues/:vhost/:name/purges/:id/undo", a.apiUndoPurge)
	api.GET("/outbox", a.apiOutbox)
	api.POST("/outbox/:id/retry", a.apiRetryOutbox)
	api.DELETE("/outbox/:id", a.apiDiscardOutbox)
	api.GET("/workers", a.apiWorkers)
	api.POST("/workers/:id/quiet", a.apiAskProcess(jobs.WishQuiet))
	api.POST("/workers/:id/resume", a.apiAskProcess(jobs.WishResume))
	api.POST("/workers/:id/stop", a.apiAskProcess(jobs.WishStop))
	api.GET("/audit", a.apiAudit)
}

// isSentAsIs tells apart what is compressed elsewhere, the stream, of which each line must leave
// at once, and downloads, whose length tells the browser when one was cut off.
func isSentAsIs(c echo.Context) bool {
	path := c.Request().URL.Path
	return path == "/live" || path == "/metrics" || strings.HasPrefix(path, static.Prefix) || strings.HasPrefix(path, "/files/") || strings.HasSuffix(path, ".csv")
}

// healthRoutes are those that every role may serve.
func (a *App) healthRoutes(e *echo.Echo) {
	e.GET("/healthz", a.healthz)
	e.GET("/readyz", a.readyz)
	e.GET("/metrics", echo.WrapHandler(a.Metrics))
}

// CrossOrigin refuses writes that another site's page makes a browser send.
func (a *App) CrossOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"Forbidden","status":403,"detail":"The request comes from another site."}` + "\n"))
	}))
	return p.Handler(next)
}

// ownHost refuses requests for a foreign host name: a page of another site whose
// name was pointed at this address (DNS rebinding) would else count as our own.
// Where a credential is asked for, such a page has none: cookies belong to a name.
func (a *App) ownHost(next echo.HandlerFunc) echo.HandlerFunc {
	if a.Access.guarded() {
		return next
	}
	return func(c echo.Context) error {
		host := c.Request().Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(trimBrackets(host))
		if host == "localhost" || err == nil && ip.IsLoopback() {
			return next(c)
		}
		return echo.NewHTTPError(http.StatusForbidden, "Warren answers for localhost and 127.0.0.1 only, not for the host "+host+".")
	}
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", views.CSP)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // nothing of ours outlives a sign-out; static files say otherwise
		return next(c)
	}
}

// isUpload says that the body is a file, which is written to the database as it
// comes and may have jobs.FileMax bytes.
func isUpload(c echo.Context) bool {
	path := c.Request().URL.Path
	return c.Request().Method == http.MethodPost && (path == "/tasks/import" || path == "/api/v1/tasks/import")
}

// onlyJSON: the API takes application/json, and for an upload text/csv: nothing that a form could send.
// It is not the group's own middleware: echo would answer a wrong method with 404 then.
func onlyJSON(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		kind := r.Header.Get("Content-Type")
		empty := kind == "" && r.ContentLength == 0
		if isUpload(c) && mediaType(kind) == "text/csv" {
			return next(c)
		}
		if strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodGet && r.Method != http.MethodHead && !empty && mediaType(kind) != "application/json" {
			return echo.NewHTTPError(http.StatusUnsupportedMediaType, "The API takes only application/json.")
		}
		return next(c)
	}
}
