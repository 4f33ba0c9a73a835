package warren

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/warrenjobs/warren/handlers"
)

// DashboardOption says who may use the dashboard. Without one it answers only
// requests for localhost, and everybody who sends them.
type DashboardOption func(*access) error

type access struct {
	password, proxy string
	readOnly        bool
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

// Dashboard returns the dashboard with its API, health and metrics, for the root
// path. It is current while Run runs, also with RoleWeb alone. With a password the
// call takes a good part of a second, for the key of the cookies.
// A client has one: a second call of Dashboard or HealthHandler is an error.
func (c *Client) Dashboard(options ...DashboardOption) (http.Handler, error) {
	var a access
	for _, set := range options {
		if err := set(&a); err != nil {
			return nil, fmt.Errorf("guard the dashboard: %w", err)
		}
	}
	if a.password != "" && a.proxy != "" {
		return nil, errors.New("guard the dashboard: either Password or TrustProxy signs people in, not both")
	}
	guard, err := handlers.NewAccess(a.password, a.proxy, a.readOnly)
	if err != nil {
		return nil, fmt.Errorf("guard the dashboard: %w", err)
	}
	if err := c.serve(); err != nil {
		return nil, err
	}
	c.app.Access = guard
	return c.app.Dashboard(), nil
}

// HealthHandler returns health and metrics alone, for a process that serves no dashboard.
func (c *Client) HealthHandler() (http.Handler, error) {
	if err := c.serve(); err != nil {
		return nil, err
	}
	return c.app.Health(), nil
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
