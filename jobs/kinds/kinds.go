// Package kinds holds the built-in kinds, one file each, and the list of them.
package kinds

import "github.com/warrenjobs/warren/jobs"

// Config is what the built-in kinds need.
type Config struct {
	Tasks    Tasks
	Announce jobs.Announce
}

// Register adds the built-in kinds to r.
func Register(r *jobs.Registry, cfg Config) {
	jobs.Register(r, dots)
	tasks := taskKinds{cfg.Tasks, cfg.Announce}
	jobs.Register(r, tasks.importCSV)
	jobs.Register(r, tasks.exportCSV)
}
