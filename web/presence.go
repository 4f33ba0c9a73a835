package web

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// stopAsked is the cause of a stop that somebody asked for on the dashboard or the command line: a good end.
type stopAsked struct{ by string }

func (e stopAsked) Error() string { return fmt.Sprintf("%s asked this process to stop", e.by) }

// describe fills what does not change in this process's row.
func (p *process) describe() {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	p.self.Name, p.self.Host, p.self.PID, p.self.Version = p.name, host, os.Getpid(), Version
	for _, role := range p.roles {
		p.self.Roles = append(p.self.Roles, string(role))
	}
	if slices.Contains(p.roles, RoleWeb) {
		p.self.Details.Listen = p.cfg.Listen
	}
}

// present keeps the row of this process while it lives, and does what operators
// ask of it. It goes on after ctx has ended, as "stopping", until leave does; then it removes the row.
func (p *process) present(ctx, leave context.Context) {
	row, done, told := p.self, jobs.Wish(""), false
	stopping := ctx.Done()
	for leave.Err() == nil {
		if ctx.Err() != nil {
			row.State, stopping = jobs.ProcessStopping, nil
		}
		wanted, err := p.beat(leave, &row, done)
		if err != nil && !told && leave.Err() == nil {
			p.log.Warn("cannot tell the others that this process is here", "error", err)
		}
		told = err != nil
		if err == nil {
			done = wanted.what
		}
		if wanted.what != "" {
			p.fulfil(wanted, &row)
			continue // and say so at once: somebody waits for it
		}
		select {
		case <-leave.Done():
		case <-stopping:
		case <-p.asked:
		case <-time.After(jobs.ProcessBeat):
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(leave), 5*time.Second)
	defer cancel()
	if err := p.store.EndProcess(ctx, p.self.ID); err != nil {
		p.log.Debug("remove the row of this process", "error", err)
	}
	p.announcer.Announce(jobs.TopicWorkers)
}

// wish is what somebody wants of this process.
type wish struct {
	what jobs.Wish
	by   string
}

// beat writes the row and announces it when it changed.
func (p *process) beat(ctx context.Context, row *jobs.Process, done jobs.Wish) (wish, error) {
	ctx, cancel := context.WithTimeout(ctx, jobs.ProcessBeat)
	defer cancel()
	if p.relay != nil {
		stats := p.relay.Stats()
		row.Details.Relay = &stats
	}
	if p.private != nil {
		row.Details.Private = p.private.Owner()
	}
	what, by, err := p.store.Beat(ctx, *row, done)
	if err == nil && row.State != p.shown {
		p.shown = row.State
		p.announcer.Announce(jobs.TopicWorkers)
	}
	return wish{what, by}, err
}

// fulfil does what an operator asked for.
func (p *process) fulfil(w wish, row *jobs.Process) {
	worker := p.worker.Load()
	switch {
	case w.what == jobs.WishStop:
		p.log.Info("stopping, as somebody asked", "by", w.by)
		p.stop(stopAsked{w.by})
	case worker == nil:
	case w.what == jobs.WishQuiet:
		p.log.Info("the worker becomes quiet, as somebody asked", "by", w.by)
		worker.Quiet()
		row.State = jobs.ProcessQuiet
	case w.what == jobs.WishResume:
		p.log.Info("the worker takes jobs again, as somebody asked", "by", w.by)
		worker.Resume()
		row.State = jobs.ProcessRunning
	}
}

// ask hears that somebody wants something of a process; each also looks by itself every 2 s.
func (p *process) ask(id string) {
	if id != p.self.ID.String() {
		return
	}
	select {
	case p.asked <- struct{}{}:
	default:
	}
}
