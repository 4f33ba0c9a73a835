package handlers

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/views/ui"
)

// Access identifies the users of requests and decides whether they may write. It is set once, at
// start, and is safe for concurrent use. One without a password, a header and a function admits
// everybody who reaches the address, which is loopback then.
type Access struct {
	Proxy    string // header in which a proxy names the signed-in user; "" without one
	ReadOnly bool   // every write is refused
	// User is the application's function that returns the user of a request and their rights; its
	// error refuses the request. Nil: the fields above decide.
	User func(*http.Request) (User, error)
	// Proxies are the peers whose X-Forwarded-For and Proxy header are believed.
	Proxies []netip.Prefix
	// Hosts are names that requests may be for, beside localhost and the loopback addresses. Where
	// Warren asks for the password or the application identifies users, none means any.
	Hosts []string

	password [sha256.Size]byte
	key      []byte                    // signs cookies; nil without a password
	series   atomic.Pointer[uuid.UUID] // of logins, as last read
	// Wrong passwords are counted apart where they come from: a guess at the form does not hold up
	// a script, nor a browser that has been signed in before.
	form, known, tokens throttle
}

const (
	keyRounds  = 600_000 // the password must not be found from a cookie by brute force
	accountMax = 200     // bytes of a name that a proxy gives
)

// NewAccess returns an Access that asks for the password if there is one, or else trusts the header
// if one is named, and trusts proxies at loopback addresses. With a password it takes a good part
// of a second: the key of the cookies is derived from the password, so that every web process
// accepts the cookies of the others, also while the database is away, and a new password ends all
// logins.
func NewAccess(password, proxy string, readOnly bool) (*Access, error) {
	a := &Access{Proxy: proxy, ReadOnly: readOnly, Proxies: loopback}
	if password == "" {
		return a, nil
	}
	key, err := pbkdf2.Key(sha256.New, password, []byte("warren login cookies"), keyRounds, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of login cookies: %w", err)
	}
	a.password, a.key = sha256.Sum256([]byte(password)), key
	return a, nil
}

// asksForPassword reports whether users sign in with a password here.
func (a *Access) asksForPassword() bool { return a.key != nil }

// guarded reports whether a request needs a credential.
func (a *Access) guarded() bool { return a.asksForPassword() || a.Proxy != "" || a.User != nil }

// right reports whether the password is right, in constant time.
func (a *Access) right(password string) bool {
	given := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(given[:], a.password[:]) == 1
}

// enter admits requests whose user is established and records that user. It goes by the matched
// route, not by the path, so that the two cannot be read differently.
func (a *App) enter(t table) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if t.open[c.Path()] {
				return next(c)
			}
			user, err := a.identify(c)
			if err != nil {
				return err
			}
			if user.Name == "" && a.Access.User == nil && a.Access.guarded() {
				return a.signInFirst(c)
			}
			c.Set(userKey, user)
			return next(c)
		}
	}
}

// identify returns the user of a request: from the application around the dashboard, or by a
// credential, which grants every right.
func (a *App) identify(c echo.Context) (User, error) {
	if a.Access.User == nil {
		name, err := a.whoIs(c)
		return User{Name: name, Can: Rights()}, err
	}
	user, err := a.Access.User(c.Request())
	if err != nil {
		return User{}, echo.NewHTTPError(http.StatusUnauthorized, "Nobody is signed in: "+err.Error()+".")
	}
	user.Name = printable(user.Name)
	return user, nil
}

const userKey = "user"

// userOf returns the user who sent the request.
func userOf(c echo.Context) User {
	user, _ := c.Get(userKey).(User)
	return user
}

// accountOf returns the name of the signed-in user, "" without sign-in.
func accountOf(c echo.Context) string { return userOf(c).Name }

// admitted reports whether enter has admitted the request: only then may a page show anything of
// ours.
func admitted(c echo.Context) bool { return c.Get(userKey) != nil }

// whoIs returns the account of the request's credential; "" means that it has no valid one.
func (a *App) whoIs(c echo.Context) (string, error) {
	r := c.Request()
	switch {
	case a.Access.Proxy != "" && !a.Access.trusts(peer(r)):
		return "", echo.NewHTTPError(http.StatusForbidden, fmt.Sprintf("Warren takes requests only from the proxy in front of it, "+
			"whose address WARREN_PROXIES lists, not from %s.", peer(r)))
	case a.Access.Proxy != "":
		return proxyUser(r.Header.Values(a.Access.Proxy), a.Access.Proxy)
	case !a.Access.asksForPassword():
		return "", nil
	}
	if signedIn, err := a.signedIn(c); err != nil || signedIn {
		return account, err
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !isAPI(c) || !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	if err := a.tryPassword(c, &a.Access.tokens, place(c.RealIP()), strings.TrimSpace(token)); err != nil {
		c.Response().Header().Set("WWW-Authenticate", "Bearer")
		return "", err
	}
	return account, nil
}

// proxyUser reads the name that the proxy sends. Two headers count as none: a proxy that adds its
// header to the client's own would let the client choose.
func proxyUser(values []string, header string) (string, error) {
	name := ""
	if len(values) == 1 {
		name = printable(values[0])
	}
	if name == "" {
		return "", echo.NewHTTPError(http.StatusUnauthorized,
			fmt.Sprintf("Nobody is signed in: Warren expects one header %s from the proxy in front of it, and takes requests only "+
				"through that.", header))
	}
	return name, nil
}

// printable returns a name that is fit for a page, a log and a row.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > accountMax {
		s = strings.ToValidUTF8(s[:accountMax], "")
	}
	return strings.TrimSpace(s)
}

// tryPassword checks a password, or refuses to, as the throttle says of the source. Its errors have
// a message for the user: 401, or 429 with the time to wait.
func (a *App) tryPassword(c echo.Context, t *throttle, source, password string) error {
	right := a.Access.right(password)
	wait, record := t.try(source, right, time.Now())
	if record {
		a.Log.Warn("sign-in refused: wrong password", "from", c.RealIP())
		a.writeAccess(c, "access.refused")
	}
	switch {
	case wait > 0:
		seconds := int((wait + time.Second - 1) / time.Second)
		c.Response().Header().Set("Retry-After", strconv.Itoa(seconds))
		return echo.NewHTTPError(http.StatusTooManyRequests, fmt.Sprintf("Too many wrong passwords. Wait %d s and try again.", seconds))
	case !right:
		return echo.NewHTTPError(http.StatusUnauthorized, "The password is wrong.")
	}
	return nil
}

// signInFirst redirects a page request to the sign-in page, and answers every other request with
// 401.
func (a *App) signInFirst(c echo.Context) error {
	if isAPI(c) {
		c.Response().Header().Set("WWW-Authenticate", "Bearer")
		return echo.NewHTTPError(http.StatusUnauthorized, "Send Authorization: Bearer with the password of this Warren.")
	}
	if partial(c) || strings.Contains(c.Request().Header.Get("Accept"), "text/event-stream") || strings.HasSuffix(c.Path(), ".json") {
		return echo.NewHTTPError(http.StatusUnauthorized, "You are signed out: sign in again.")
	}
	to := "/login"
	if from := returnTo(c); from != "/" {
		to += "?next=" + url.QueryEscape(from)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return seeOther(c, to)
}

// returnTo returns the page to come back to: the requested one, or the one whose form was sent.
func returnTo(c echo.Context) string {
	r := c.Request()
	if r.Method != http.MethodPost {
		return local(r.URL.RequestURI(), "/")
	}
	if u, err := url.Parse(r.Referer()); err == nil && u.Host == r.Host {
		return local(strings.TrimPrefix(u.RequestURI(), ui.MountOf(r.Context()).Base), "/")
	}
	return "/"
}

// writable holds the routes on which a read-only dashboard accepts writes: they change who is signed
// in and this browser, nothing else.
var writable = map[string]bool{"/login": true, "/logout": true, "/logout/everywhere": true, "/settings/theme": true,
	"/settings/timezone": true}

// readOnly refuses every write if the configuration says so, and marks the context, so that pages
// show no buttons.
func (a *App) readOnly(next echo.HandlerFunc) echo.HandlerFunc {
	if !a.Access.ReadOnly {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		c.SetRequest(r.WithContext(ui.WithReadOnly(r.Context())))
		switch {
		case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions, writable[c.Path()]:
			return next(c)
		}
		return echo.NewHTTPError(http.StatusForbidden, "This dashboard is read-only (WARREN_READ_ONLY): nothing can be changed here.")
	}
}
