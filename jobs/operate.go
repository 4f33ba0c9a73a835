package jobs

// Actor says who acts, from where and why; it goes into the audit log with the action.
type Actor struct {
	Name   string // who signed in; "web" or "api" without sign-in; the OS user on the command line
	From   string // address of the browser or client, or the host of the command line
	Reason string
}
