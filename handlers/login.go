package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

const (
	account     = "admin" // the one account that the password opens
	loginCookie = "warren_login"
	loginTime   = 7 * 24 * time.Hour
	knownCookie = "warren_known"
	knownTime   = 365 * 24 * time.Hour
	loginKey    = "login" // of a request's login, in its context
)

// afterLogin returns the local page to redirect to after sign-in.
func afterLogin(c echo.Context) string {
	to := local(c.FormValue("next"), "/")
	if strings.HasPrefix(to, "/login") || strings.HasPrefix(to, "/logout") {
		return "/"
	}
	return to
}

func (a *App) loginPage(c echo.Context) error {
	if !a.Access.asksForPassword() {
		return seeOther(c, afterLogin(c))
	}
	signedIn, err := a.signedIn(c)
	switch {
	case err != nil:
		return err
	case signedIn:
		return seeOther(c, afterLogin(c))
	}
	return a.showLogin(c, http.StatusOK, views.LoginModel{})
}

func (a *App) showLogin(c echo.Context, status int, m views.LoginModel) error {
	m.Next = afterLogin(c)
	return render(c, status, views.Login(a.bare(c, "Sign in"), m))
}

// login signs a user in. It takes the password from the body only, as URLs are written to logs.
func (a *App) login(c echo.Context) error {
	if !a.Access.asksForPassword() {
		return seeOther(c, afterLogin(c))
	}
	tries, source := &a.Access.form, place(c.RealIP())
	if known := a.Access.readKnown(cookie(c, knownCookie), time.Now()); known != "" {
		tries, source = &a.Access.known, known
	}
	var refused *echo.HTTPError
	if err := a.tryPassword(c, tries, source, c.Request().PostFormValue("password")); errors.As(err, &refused) {
		return a.showLogin(c, refused.Code, views.LoginModel{Wrong: httpDetail(refused)})
	}
	now := time.Now()
	setAccessCookie(c, loginCookie, a.Access.loginToken(a.newLogin(c.Request().Context(), now.Add(loginTime))), loginTime)
	setAccessCookie(c, knownCookie, a.Access.knownToken(now.Add(knownTime)), knownTime)
	c.Set(userKey, User{Name: account, Can: Rights()})
	a.Log.Info("signed in", "account", account, "from", c.RealIP())
	a.writeAccess(c, "access.signed_in")
	return seeOther(c, afterLogin(c))
}

// newLogin returns a login of the deployment's series. While that is unknown, as the database has
// been away since the start of the process, the login holds until the database is back.
func (a *App) newLogin(ctx context.Context, until time.Time) login {
	l := login{id: uuid.New(), until: until}
	_, _ = a.stands(ctx, l) // reads the series
	if series := a.Access.series.Load(); series != nil {
		l.series = *series
	}
	return l
}

// stands reports whether a login was not ended. Who is signed in stays so while the database is away
// or being prepared: it cannot be asked, and pages show nothing but that.
func (a *App) stands(ctx context.Context, l login) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	series, ended, err := a.Store.LoginSeries(ctx, l.id)
	if err == nil {
		a.Access.series.Store(&series)
		return l.series == series && !ended, nil
	}
	if _, downSince, _ := a.database.get(); store.IsAway(err) || !downSince.IsZero() || a.Waiting() != "" {
		return true, nil
	}
	return false, fmt.Errorf("check whether a login was ended: %w", err)
}

// signedIn reports whether the request carries the cookie of a login that stands, and remembers the
// login for streamOwner and logout.
func (a *App) signedIn(c echo.Context) (bool, error) {
	for _, value := range c.Request().CookiesNamed(cookieName(c, loginCookie)) { // a dashboard above this path may have one too
		l, ok := a.Access.readLogin(value.Value, time.Now())
		if !ok {
			continue
		}
		stands, err := a.stands(c.Request().Context(), l)
		if err != nil || stands {
			c.Set(loginKey, l)
			return stands, err
		}
	}
	return false, nil
}

// logout ends the login of this browser, for everybody who has a copy of its cookie too. The browser
// keeps its cookie until that is recorded, as nobody should look signed out who is not.
func (a *App) logout(c echo.Context) error {
	if err := a.endLogin(c); err != nil {
		a.Log.Warn("a login could not be ended", "from", c.RealIP(), "error", err)
		return echo.NewHTTPError(http.StatusServiceUnavailable, "You are still signed in: the sign-out could not be recorded in the "+
			"database. Try again when it can be reached.")
	}
	setAccessCookie(c, loginCookie, "", -time.Second)
	return seeOther(c, "/login")
}

// endLogin ends the login of the request, if it has one that stands.
func (a *App) endLogin(c echo.Context) error {
	if !a.Access.asksForPassword() {
		return nil
	}
	if signedIn, err := a.signedIn(c); err != nil || !signedIn {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	l, _ := c.Get(loginKey).(login)
	c.Set(userKey, User{Name: account, Can: Rights()})
	return a.Store.EndLogin(ctx, l.id, l.until, a.by(c))
}

// logoutEverywhere ends the logins of all browsers.
func (a *App) logoutEverywhere(c echo.Context) error {
	if !a.Access.asksForPassword() {
		return echo.NewHTTPError(http.StatusNotFound)
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := a.Store.EndAllLogins(ctx, a.by(c)); err != nil {
		return err
	}
	a.Log.Info("signed out everywhere", "account", account, "from", c.RealIP())
	setAccessCookie(c, loginCookie, "", -time.Second)
	return seeOther(c, "/login")
}

// setAccessCookie sets a cookie for a time, or removes it if that is negative.
func setAccessCookie(c echo.Context, name, value string, age time.Duration) {
	setCookie(c, http.Cookie{Name: name, Value: value, MaxAge: int(age / time.Second), HttpOnly: true, Secure: isHTTPS(c.Request())})
	c.Response().Header().Set("Cache-Control", "no-store")
}

// isHTTPS reports whether the browser sent the request by HTTPS, to this process or to a proxy in front.
func isHTTPS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// writeAccess records a sign-in in the audit log. A failure is only logged: users must be able to
// sign in while the database is away.
func (a *App) writeAccess(c echo.Context, action string) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 3*time.Second)
	defer cancel()
	by := a.by(c)
	by.Reason = ""
	if err := a.Store.WriteAudit(ctx, by, action, "account:"+account, nil); err != nil {
		a.Log.Warn("a sign-in is missing in the audit log", "action", action, "error", err)
	}
}
