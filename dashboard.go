package warren

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/views"
)

// DashboardOption says where the dashboard is, and who may use it. Without one it
// is at the root path and answers only requests for localhost, and everybody who
// sends them.
type DashboardOption func(*access) error

type access struct {
	password, proxy string
	readOnly        bool
	base            string
	csp             *string
	user            func(*http.Request) (User, error)
}

// User is who sent a request and what they may do. The zero User may do nothing.
type User = handlers.User

// Right is something that a user may do, on pages, by the API and in the live stream.
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

// At mounts the dashboard below a path, such as "/admin/jobs". The handler works
// below a router that leaves the path of the request as it is, as http.ServeMux
// and echo's groups do, and below one that takes the prefix away, as
// http.StripPrefix does.
func At(path string) DashboardOption {
	return func(a *access) error {
		a.base = strings.TrimSuffix(path, "/")
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#%\\ ") || strings.Contains(path, "//") {
			return fmt.Errorf("%q is not a path such as /admin/jobs", path)
		}
		return nil
	}
}

// FrameAncestors lets pages of these origins show the dashboard in a frame, as
// "'self' https://intranet.example.org"; without it none may.
func FrameAncestors(origins string) DashboardOption {
	return func(a *access) error {
		policy := views.CSPFramed(origins)
		if a.csp = &policy; strings.ContainsAny(origins, ";,\r\n") || strings.TrimSpace(origins) == "" {
			return fmt.Errorf("%q is not a list of origins", origins)
		}
		return nil
	}
}

// OwnCSP leaves the Content-Security-Policy header to the application. The pages
// need no more than scripts, styles, images and connections of 'self', and data: images.
func OwnCSP() DashboardOption {
	return func(a *access) error {
		none := ""
		a.csp = &none
		return nil
	}
}

// Identify has the application around the dashboard say who sends each request,
// and what they may do. An error refuses the request: its text is shown to whoever
// sent it. The function is called at once from many goroutines.
func Identify(user func(*http.Request) (User, error)) DashboardOption {
	return func(a *access) error {
		if a.user = user; user == nil {
			return errors.New("Identify needs a function")
		}
		return nil
	}
}

// PasswordMin is how many characters a password has at least.
const PasswordMin = 8

// Password requires people to sign in with this password.
func Password(password string) DashboardOption {
	return func(a *access) error {
		if a.password = password; len(password) < PasswordMin {
			return fmt.Errorf("the password is too short: it must have at least %d characters", PasswordMin)
		}
		return nil
	}
}

// TrustProxy believes the header in which a proxy names the signed-in user.
func TrustProxy(header string) DashboardOption {
	return func(a *access) error {
		if a.proxy = header; header == "" {
			return errors.New("the header in which the proxy names the user has no name")
		}
		return nil
	}
}

// ReadOnly refuses every change.
func ReadOnly() DashboardOption {
	return func(a *access) error {
		a.readOnly = true
		return nil
	}
}

// Dashboard returns the dashboard with its API, health and metrics. It is current
// while Run runs, also with RoleWeb alone. With a password the call takes a good
// part of a second, for the key of the cookies.
// A client has one: a second call of Dashboard or HealthHandler is an error.
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
	guard, err := handlers.NewAccess(a.password, a.proxy, a.readOnly)
	if err != nil {
		return nil, fmt.Errorf("guard the dashboard: %w", err)
	}
	if err := c.serve(); err != nil {
		return nil, err
	}
	guard.User = a.user
	c.app.Access, c.app.Base, c.app.CSP = guard, a.base, a.csp
	return c.app.Dashboard(), nil
}

// HealthHandler returns health and metrics alone, for a process that serves no dashboard.
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

// serve has Run keep what the handlers show current.
func (c *Client) serve() error {
	if c.serves.Swap(true) {
		return errors.New("this client serves already: Dashboard or HealthHandler is called once")
	}
	close(c.served)
	return nil
}

// EndStreams ends the live streams of open pages, for http.Server.RegisterOnShutdown:
// Shutdown would wait for them otherwise, for minutes. Idempotent.
func (c *Client) EndStreams() { c.live.Close() }
