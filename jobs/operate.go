package jobs

// By says who acts and why; it goes into the audit log with the action.
type By struct {
	Actor  string // OS user on the command line, "web" or "api" until there is sign-in
	Reason string
}
