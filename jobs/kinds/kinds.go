// Package kinds contains the built-in kinds, one file each, and the list of them.
package kinds

import (
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
)

// Config contains what the built-in kinds need to run. The zero Config is sufficient to check and
// submit their jobs.
type Config struct {
	Version   string // of Warren, for the User-Agent
	HTTPAllow HTTPAllow
	Mail      MailConfig
	Tasks     Tasks
	Events    Events
	Announce  engine.Announce
}

// BuiltIn returns all built-in kinds.
func BuiltIn(cfg Config) []*jobs.Kind {
	return append(OfPages(cfg), jobs.Handle(dots), jobs.Handle(newHTTPKind(cfg).run), jobs.Handle(cfg.Mail.send))
}

// OfPages returns the built-in kinds that the pages of tasks and events submit.
func OfPages(cfg Config) []*jobs.Kind {
	tasks := taskKinds{cfg.Tasks, cfg.Announce}
	return []*jobs.Kind{
		jobs.Handle(tasks.importCSV), jobs.Handle(tasks.exportCSV), jobs.Handle(tasks.reindex), jobs.Handle(replay(cfg.Events)),
	}
}

// Subscribers returns the built-in subscribers, which workers of the queue default run.
func Subscribers(cfg Config) []*events.Subscriber {
	return []*events.Subscriber{taskKinds{cfg.Tasks, cfg.Announce}.search()}
}
