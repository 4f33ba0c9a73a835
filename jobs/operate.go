package jobs

// Actor is the person or program behind an action, as recorded in the audit log.
type Actor struct {
	Name   string // the signed-in user; "web" or "api" without sign-in; the OS user on the command line
	From   string // address of the browser or client, or the host of the command line
	Reason string
}
