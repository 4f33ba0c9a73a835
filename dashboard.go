package warren

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/views"
)

// DashboardOption sets where the dashboard is mounted and who may use it. Without options it is
// mounted at the root path, answers only requests for localhost, and requires no sign-in.
type DashboardOption func(*access) error

type access struct {
	password, proxy string
	proxies         []netip.Prefix // nil: those of loopback
	hosts           []string
	readOnly        bool
	base            string
	csp             *string
	user            func(*http.Request) (User, error)
}

// User is the user who sent a request, with their rights. The zero User may do nothing.
type User = handlers.User

// Right is an action that a user may take, on pages, through the API and in the live stream.
type Right = handlers.Right

// The rights of a User.
const (
	RightView      = handlers.View
	RightViewArgs  = handlers.ViewArgs
	RightSubmit    = handlers.Submit
	RightRetry     = handlers.Retry
	RightCancel    = handlers.Cancel
	RightDelete    = handlers.Delete
	RightEdit      = handlers.Edit
	RightQueues    = handlers.Queues
	RightProcesses = handlers.Processes
	RightAudit     = handlers.Audit
	RightManage    = handlers.Manage
)

// Rights lists every right.
func Rights() []Right { return handlers.Rights() }

// At mounts the dashboard below a path, such as "/admin/jobs". The handler works behind a router
// that keeps the path of the request, as http.ServeMux and echo's groups do, and behind one that
// strips the prefix, as http.StripPrefix does.
func At(path string) DashboardOption {
	return func(a *access) (err error) {
		a.base, err = handlers.ParseBase(path)
		return err
	}
}

// FrameAncestors lets pages of these origins, such as "'self' https://intranet.example.org", embed
// the dashboard in a frame; without it no page may.
func FrameAncestors(origins string) DashboardOption {
	return func(a *access) error {
		policy := views.CSPFramed(origins)
		if a.csp = &policy; strings.ContainsAny(origins, ";,\r\n") || strings.TrimSpace(origins) == "" {
			return fmt.Errorf("%q is not a list of origins", origins)
		}
		return nil
	}
}

// OwnCSP leaves the Content-Security-Policy header to the application. The pages need only scripts,
// styles, images and connections of 'self', and data: images.
func OwnCSP() DashboardOption {
	return func(a *access) error {
		none := ""
		a.csp = &none
		return nil
	}
}

// Identify makes the application around the dashboard identify the user of each request and their
// rights. An error refuses the request, and its text is shown to the client. The function must be
// safe for concurrent use.
func Identify(user func(*http.Request) (User, error)) DashboardOption {
	return func(a *access) error {
		if a.user = user; user == nil {
			return errors.New("Identify needs a function")
		}
		return nil
	}
}

// PasswordMin is the minimum length of a password.
const PasswordMin = 8

// Password requires users to sign in with this password.
func Password(password string) DashboardOption {
	return func(a *access) error {
		a.password = password
		switch {
		case len(password) < PasswordMin:
			return fmt.Errorf("the password is too short: it must have at least %d characters", PasswordMin)
		case strings.ContainsFunc(password, unicode.IsControl):
			return errors.New("the password has a line break or another character in it that nobody can type")
		}
		return nil
	}
}

// TrustProxy trusts the header in which a proxy names the signed-in user, in requests from Proxies
// and for Hosts, which it needs.
func TrustProxy(header string) DashboardOption {
	return func(a *access) error {
		if a.proxy = header; header == "" {
			return errors.New("the header in which the proxy names the user has no name")
		}
		return nil
	}
}

// Proxies lists the addresses, such as 10.1.2.3, and networks, such as 10.1.0.0/16, of the proxies
// that are trusted to name the client's address in X-Forwarded-For, and the user for TrustProxy.
// Without it they are the loopback addresses.
func Proxies(list ...string) DashboardOption {
	return func(a *access) (err error) {
		a.proxies, err = handlers.ParseProxies(list)
		return err
	}
}

// Hosts lists the names under which users reach the dashboard, such as warren.example.com. Requests
// for another host, but localhost and loopback addresses, are refused then.
func Hosts(names ...string) DashboardOption {
	return func(a *access) (err error) {
		a.hosts, err = handlers.ParseHosts(names)
		return err
	}
}

// ReadOnly refuses every change.
func ReadOnly() DashboardOption {
	return func(a *access) error {
		a.readOnly = true
		return nil
	}
}

// Dashboard returns the handler of the dashboard with its API, health and metrics. Its data is
// current while Run runs, also with RoleWeb alone. With a password the call takes a good part of a
// second, to derive the key of the cookies.
// A client has one handler: a second call of Dashboard or HealthHandler is an error.
func (c *Client) Dashboard(options ...DashboardOption) (http.Handler, error) {
	var a access
	for _, set := range options {
		if err := set(&a); err != nil {
			return nil, fmt.Errorf("guard the dashboard: %w", err)
		}
	}
	if moreThanOne(a.password != "", a.proxy != "", a.user != nil) {
		return nil, errors.New("guard the dashboard: one of Password, TrustProxy and Identify says who is there, not several of them")
	}
	if err := a.checkHosts(); err != nil {
		return nil, fmt.Errorf("guard the dashboard: %w", err)
	}
	guard, err := handlers.NewAccess(a.password, a.proxy, a.readOnly)
	if err != nil {
		return nil, fmt.Errorf("guard the dashboard: %w", err)
	}
	if err := c.serve(); err != nil {
		return nil, err
	}
	guard.User, guard.Hosts = a.user, a.hosts
	if a.proxies != nil {
		guard.Proxies = a.proxies
	}
	c.app.Access, c.app.Base, c.app.CSP = guard, a.base, a.csp
	return c.app.Dashboard(), nil
}

func (a *access) checkHosts() error {
	switch {
	case a.proxy != "" && len(a.hosts) == 0:
		return errors.New("TrustProxy needs Hosts: the names under which users reach the dashboard")
	case a.proxy == "" && a.password == "" && a.user == nil && len(a.hosts) > 0:
		return errors.New("Hosts needs one of Password, TrustProxy and Identify: others can reach these names")
	}
	return nil
}

// HealthHandler returns the handler of health and metrics alone, for a process that serves no
// dashboard.
func (c *Client) HealthHandler() (http.Handler, error) {
	if err := c.serve(); err != nil {
		return nil, err
	}
	return c.app.Health(), nil
}

func moreThanOne(set ...bool) bool {
	n := 0
	for _, is := range set {
		if is {
			n++
		}
	}
	return n > 1
}

// serve makes Run keep the data of the handlers current. A second call is an error.
func (c *Client) serve() error {
	if c.serves.Swap(true) {
		return errors.New("this client serves already: Dashboard or HealthHandler is called once")
	}
	close(c.served)
	return nil
}

// EndStreams ends the live streams of open pages. Register it with http.Server.RegisterOnShutdown,
// as Shutdown would otherwise wait for them for minutes. Idempotent.
func (c *Client) EndStreams() { c.live.Close() }
