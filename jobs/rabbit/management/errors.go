package management

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is a refusal by the broker: the request and the answer.
type Error struct {
	Status  int    // HTTP status
	Code    string // the broker's "error"
	Reason  string // the broker's "reason"
	Account string
	Asked   string // such as "GET /api/overview"
}

// Error returns a sentence, which includes what to do if that is known.
func (e *Error) Error() string {
	switch {
	case e.BadPassword():
		return fmt.Sprintf("The broker's management API does not accept the name or password of account %q.", e.Account)
	case e.LacksRight() && strings.Contains(e.Reason, "virtual host"):
		return fmt.Sprintf("The broker account %q may not look into the virtual host (%s). To let it look, and no more: rabbitmqctl "+
			"set_permissions -p VHOST %s '^$' '^$' '^$'.",
			e.Account, e.Asked, e.Account)
	case e.LacksRight():
		return fmt.Sprintf("The broker account %q may not %s (%s). To watch: rabbitmqctl set_user_tags %s monitoring; to set "+
			"policies: policymaker.",
			e.Account, e.Asked, e.Reason, e.Account)
	case e.Reason == "" && e.Code == "":
		return fmt.Sprintf("The management API answered %s with %d %s.", e.Asked, e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("The management API answered %s with %d: %s", e.Asked, e.Status, strings.Join(strings.Fields(e.Code+": "+e.Reason),
		" "))
}

// BadPassword reports whether the account or its password is wrong. The broker spells this
// not_authorized, with a z.
func (e *Error) BadPassword() bool {
	return e.Status == http.StatusUnauthorized && !e.LacksRight()
}

// LacksRight reports whether the account is known but lacks a tag or a permission. Up to 4.x the
// broker answers 401 not_authorised, with an s; later 403.
func (e *Error) LacksRight() bool {
	return e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized && e.Code == "not_authorised"
}

// IsNotFound reports whether err is a 404 answer of the broker.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

func (n node) refusal(method, path string, resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, Account: n.user, Asked: method + " " + route(path)}
	body, err := readAtMost(resp.Body, errorBodyMax)
	if err != nil {
		return e
	}
	var said struct {
		Error  text `json:"error"`
		Reason text `json:"reason"`
	}
	if json.Unmarshal(body, &said) == nil {
		e.Code, e.Reason = string(said.Error), string(said.Reason)
	}
	return e
}
