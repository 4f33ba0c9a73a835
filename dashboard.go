package warren

import (
	"fmt"
	"net/http"

	"github.com/warrenjobs/warren/handlers"
)

// DashboardOption says who may use the dashboard. Without one everybody may who reaches it.
type DashboardOption func(*access)

type access struct {
	password, proxy string
	readOnly        bool
}

// Password has people sign in with it.
func Password(password string) DashboardOption { return func(a *access) { a.password = password } }

// TrustProxy believes the header in which a proxy names the signed-in user.
func TrustProxy(header string) DashboardOption { return func(a *access) { a.proxy = header } }

// ReadOnly has nobody change anything.
func ReadOnly() DashboardOption { return func(a *access) { a.readOnly = true } }

// Dashboard is the dashboard with its API, health and metrics, below "/". It is
// asked for once; with a password that takes a good part of a second, for the
// key of the cookies. It answers as soon as the client is open, and shows what changes
// while Run runs.
func (c *Client) Dashboard(options ...DashboardOption) (http.Handler, error) {
	var a access
	for _, set := range options {
		set(&a)
	}
	var err error
	if c.app.Access, err = handlers.NewAccess(a.password, a.proxy, a.readOnly); err != nil {
		return nil, fmt.Errorf("guard the dashboard: %w", err)
	}
	return c.app.Dashboard(), nil
}

// Health is health and metrics alone, below "/", for a process that serves no dashboard.
func (c *Client) Health() http.Handler {
	return c.app.Health()
}
