// Package kinds holds the built-in kinds, one file each, and the list of them.
package kinds

import "github.com/warrenjobs/warren/jobs"

// Config is what built-in kinds need to run. The zero Config is enough to check
// and submit their jobs.
type Config struct {
	Version   string // of Warren, for the User-Agent
	HTTPAllow HTTPAllow
	Mail      MailConfig
	Tasks     Tasks
	Announce  jobs.Announce
}

// Register adds the built-in kinds to r.
func Register(r *jobs.Registry, cfg Config) {
	jobs.Register(r, dots)
	jobs.Register(r, newHTTPKind(cfg).run)
	jobs.Register(r, cfg.Mail.send)
	tasks := taskKinds{cfg.Tasks, cfg.Announce}
	jobs.Register(r, tasks.importCSV)
	jobs.Register(r, tasks.exportCSV)
}
