package handlers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// frame fills the frame around every page. It never fails: a page must be shown, and say so, also
// while the database is away.
func (a *App) frame(c echo.Context, active, title string, topics ...string) views.Page {
	ctx, cancel := context.WithTimeout(c.Request().Context(), time.Second)
	defer cancel()
	health, fresh := a.health(ctx), time.Time{}
	if len(topics) > 0 {
		fresh = time.Now()
	}
	return views.Page{
		Title:  title,
		Fresh:  fresh,
		Nav:    a.nav(ctx, active),
		Path:   local(c.Request().URL.RequestURI(), "/"),
		Search: c.QueryParam("q"),
		Env:    environment(a.Environment),
		Health: health.Pills,
		Theme:  cookie(c, "theme"),
		UTC:    cookie(c, "tz") == "utc",
		Flash:  takeFlash(c),
		Topics: append(topics, engine.TopicHealth),

		Sources: health.Sources,
		Account: accountOf(c),
		SignOut: a.Access.asksForPassword(),
	}
}

// bare returns the frame around pages that are shown before sign-in: it reveals nothing.
func (a *App) bare(c echo.Context, title string) views.Page {
	return views.Page{Title: title, Path: returnTo(c), Env: environment(a.Environment), Theme: cookie(c, "theme")}
}

// deadFor is how long a dead job asks for attention. The pages say "in the last 24 h".
const deadFor = 24 * time.Hour

// nav returns the entries of the navigation rail. A count marks an entry that needs attention.
func (a *App) nav(ctx context.Context, active string) []views.Nav {
	dead, _ := a.Store.DeadJobs(ctx, time.Now().Add(-deadFor)) // an unknown count is not shown
	failing, _ := a.Store.FailingOutbox(ctx)
	stuck, _, _ := a.Store.StuckSchedules(ctx)
	entries := []views.Nav{
		{ID: "overview", Label: "Overview", Href: "/", Icon: "overview", Key: "o"},
		{ID: "jobs", Label: "Jobs", Href: "/jobs", Icon: "jobs", Key: "j"},
		{ID: "tasks", Label: "Tasks", Href: "/tasks", Icon: "tasks", Key: "t"},
		{ID: "schedules", Label: "Schedules", Href: "/schedules", Icon: "schedules", Key: "s", Count: int64(stuck),
			Counts: "cannot fire"},
		{ID: "queues", Label: "Queues", Href: "/queues", Icon: "queues", Key: "q"},
		{ID: "failures", Label: "Failures", Href: "/failures", Icon: "failures", Key: "f", Count: int64(dead.Open),
			Counts: "dead of open failures in the last 24 h"},
		{ID: "outbox", Label: "Outbox", Href: "/outbox", Icon: "outbox", Key: "u", Count: int64(failing), Counts: "failing"},
		{ID: "events", Label: "Events", Href: "/events", Icon: "events", Key: "e"},
		{ID: "messages", Label: "Messages", Href: "/tail", Icon: "messages", Key: "m"},
		{ID: "workers", Label: "Workers", Href: "/workers", Icon: "workers", Key: "w"},
	}
	if lacks(ctx, Audit) == "" {
		entries = append(entries, views.Nav{ID: "audit", Label: "Audit", Href: "/audit", Icon: "audit", Key: "a", Gap: true})
	}
	for i := range entries {
		entries[i].Active = entries[i].ID == active
	}
	return entries
}

func environment(name string) views.Env {
	color := "grey"
	switch low := strings.ToLower(name); {
	case strings.HasPrefix(low, "prod"):
		color = "red"
	case strings.HasPrefix(low, "stag"):
		color = "amber"
	case strings.HasPrefix(low, "dev"):
		color = "green"
	}
	return views.Env{Name: name, Color: color}
}

// partial reports whether htmx requests a part of the page, not the whole page.
func partial(c echo.Context) bool { return c.Request().Header.Get("HX-Request-Type") == "partial" }

// show renders the part if htmx requests it, and the whole page otherwise.
func show(c echo.Context, page, part templ.Component) error {
	if partial(c) {
		return render(c, http.StatusOK, part)
	}
	return render(c, http.StatusOK, page)
}

// render writes a component. It renders into a buffer first, so that an error halfway cannot leave
// half a page with status 200.
func render(c echo.Context, status int, component templ.Component) error {
	var buf bytes.Buffer
	ctx := context.WithoutCancel(c.Request().Context()) // render what was read even if the request ends meanwhile
	ctx = ui.WithAsked(ui.WithNow(ctx, time.Now()), c.QueryParam("ask"))
	if err := component.Render(ctx, &buf); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Add("Vary", "HX-Request, HX-Request-Type, Cookie")
	h.Set("Cache-Control", "no-store")
	return c.HTMLBlob(status, buf.Bytes())
}

// errorPage renders an error as a page or, for htmx, as a line; the content that is shown stays.
func (a *App) errorPage(c echo.Context, p problem) error {
	if partial(c) && p.Status == http.StatusUnauthorized && a.Access.asksForPassword() {
		return render(c, p.Status, views.SignedOut(p.Detail))
	}
	m := views.NewProblemModel(p.Status, p.Detail, returnTo(c), c.Request().Method == http.MethodPost)
	if p.expired {
		m.Title, m.Hint = "This link has expired", "The list has changed since. Start again from its first page."
	}
	if partial(c) {
		return render(c, p.Status, ui.Flash(ui.FlashProps{Kind: "error", Text: m.Title + ".", Detail: m.Hint}))
	}
	if !admitted(c) {
		return render(c, p.Status, views.Refused(a.bare(c, m.Title), m))
	}
	page := a.frame(c, "", m.Title)
	page.Path, page.Fresh, page.Mends = returnTo(c), time.Time{}, p.mends && c.Request().Method == http.MethodGet
	return render(c, p.Status, views.Problem(page, m))
}

// redirect redirects to the path, with a flash message about what was done.
func redirect(c echo.Context, to string, flash ui.FlashProps) error {
	raw, err := json.Marshal([5]string{flash.Kind, flash.Text, flash.Detail, flash.Href, flash.Link})
	if err != nil {
		return err
	}
	setCookie(c, http.Cookie{Name: "flash", Value: base64.RawURLEncoding.EncodeToString(raw), MaxAge: 30, HttpOnly: true})
	return seeOther(c, to)
}

func takeFlash(c echo.Context) []ui.FlashProps {
	raw, err := base64.RawURLEncoding.DecodeString(cookie(c, "flash"))
	if err != nil || len(raw) == 0 {
		return nil
	}
	setCookie(c, http.Cookie{Name: "flash", MaxAge: -1})
	var f [5]string
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return []ui.FlashProps{{Kind: f[0], Text: f[1], Detail: f[2], Href: local(f[3], ""), Link: f[4]}}
}

// back returns the local path that a form came from, or fallback if it is not a local path.
func back(c echo.Context, fallback string) string { return local(c.FormValue("back"), fallback) }

// local returns to if it is a path of this site, and fallback otherwise.
func local(to, fallback string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") ||
		strings.ContainsAny(to, "\\\r\n") {
		return fallback
	}
	return to
}

func (a *App) healthPills(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	return render(c, http.StatusOK, views.Health(a.health(ctx).Pills))
}

func (a *App) setTheme(c echo.Context) error {
	return setChoice(c, "theme", "auto", "light", "dark")
}

func (a *App) setZone(c echo.Context) error { return setChoice(c, "tz", "local", "utc") }

func setChoice(c echo.Context, name string, allowed ...string) error {
	value := c.FormValue(name)
	for _, v := range allowed {
		if v == value {
			setCookie(c, http.Cookie{Name: name, Value: value, MaxAge: 365 * 24 * 3600})
			return seeOther(c, back(c, "/"))
		}
	}
	return badField(name, "must be one of "+strings.Join(allowed, ", "))
}

func mediaType(header string) string {
	t, _, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	return t
}
