package handlers

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/ui"
)

// mounted serves next below a.Base, whether or not the router above has stripped it from the path,
// as http.StripPrefix does. Base without its trailing slash is redirected. Every answer has the
// security headers.
func (a *App) mounted(next http.Handler) http.Handler {
	stripped := http.StripPrefix(a.Base, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.setSecurityHeaders(w.Header())
		r = r.WithContext(ui.WithMount(r.Context(), ui.Mount{Base: a.Base, Cookies: portOf(r.Host)}))
		if a.Base != "" { // the application may compress as well, which cannot be seen, and twice is unreadable
			r.Header = r.Header.Clone()
			r.Header.Del("Accept-Encoding")
		}
		path := r.URL.Path
		whole := path == pathOf(r.RequestURI)
		switch {
		case a.Base == "":
			next.ServeHTTP(w, r)
		case path == "" || whole && path == a.Base:
			to := *r.URL
			to.Path, to.RawPath = a.Base+"/", ""
			http.Redirect(w, r, to.RequestURI(), http.StatusMovedPermanently)
		case strings.HasPrefix(path, a.Base+"/") && whole:
			stripped.ServeHTTP(w, r)
		case whole:
			http.NotFound(w, r) // the router above has sent a path that is not ours
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// readWhole reads what an answer has left of the request, up to the largest upload: a proxy that is
// still sending when the connection ends reports an error of its own in place of the answer. A
// client that expects to be told to go on is not sending.
func readWhole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, sending := r.Body, r.Body != nil && r.Header.Get("Expect") == ""
		next.ServeHTTP(w, r)
		if sending {
			_, _ = io.CopyN(io.Discard, body, tasks.FileMax+formMax)
		}
	})
}

// pathOf returns the decoded path of a request URI.
func pathOf(requestURI string) string {
	u, err := url.ParseRequestURI(requestURI)
	if err != nil {
		return ""
	}
	return u.Path
}

// portOf returns the suffix of our cookie names: another dashboard may be on another port of this
// host.
func portOf(host string) string {
	_, port, err := net.SplitHostPort(host)
	if err != nil || port == "" {
		return ""
	}
	return "_" + port
}

// at returns the address of a path of the dashboard, for headers.
func at(c echo.Context, path string) string { return string(ui.At(c.Request().Context(), path)) }

// seeOther redirects the browser to a path of the dashboard.
func seeOther(c echo.Context, path string) error { return c.Redirect(http.StatusSeeOther, at(c, path)) }

// setCookie sets a cookie for this dashboard alone.
func setCookie(c echo.Context, cookie http.Cookie) {
	cookie.Name = cookieName(c, cookie.Name)
	cookie.Path, cookie.SameSite = ui.MountOf(c.Request().Context()).Base+"/", http.SameSiteLaxMode
	c.SetCookie(&cookie)
}

func cookie(c echo.Context, name string) string {
	ck, err := c.Cookie(cookieName(c, name))
	if err != nil {
		return ""
	}
	return ck.Value
}

func cookieName(c echo.Context, name string) string {
	return name + ui.MountOf(c.Request().Context()).Cookies
}
