package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/views"
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
	if !a.Access.asksForPassword() || a.Access.holder(cookie(c, sessionCookie), time.Now()) != "" {
		return seeOther(c, afterLogin(c))
	}
	return a.showLogin(c, http.StatusOK, "")
}

func (a *App) showLogin(c echo.Context, status int, wrong string) error {
	return render(c, status, views.Login(a.bare(c, "Sign in"), views.LoginModel{Next: afterLogin(c), Wrong: wrong}))
}

// login signs a user in. It takes the password from the body only, as URLs are written to logs.
func (a *App) login(c echo.Context) error {
	if !a.Access.asksForPassword() {
		return seeOther(c, afterLogin(c))
	}
	var refused *echo.HTTPError
	if err := a.tryPassword(c, c.Request().PostFormValue("password")); errors.As(err, &refused) {
		return a.showLogin(c, refused.Code, httpDetail(refused))
	}
	until := time.Now().Add(sessionTime)
	setSession(c, a.Access.session(until), int(sessionTime.Seconds()))
	c.Set(userKey, User{Name: account, Can: Rights()})
	a.Log.Info("signed in", "account", account, "from", c.RealIP())
	a.writeAccess(c, "access.signed_in")
	return seeOther(c, afterLogin(c))
}

// logout removes the session from this browser.
func (a *App) logout(c echo.Context) error {
	setSession(c, "", -1)
	return seeOther(c, "/login")
}

func setSession(c echo.Context, value string, maxAge int) {
	r := c.Request()
	https := r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
	setCookie(c, http.Cookie{Name: sessionCookie, Value: value, MaxAge: maxAge, HttpOnly: true, Secure: https})
	c.Response().Header().Set("Cache-Control", "no-store")
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
