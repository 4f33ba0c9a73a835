package web

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

func (p *process) runScheduler(ctx context.Context) error {
	scheduler := &jobs.Scheduler{Store: p.store, DeadLetters: p.broker, OpenSession: p.session(RoleScheduler),
		VHost: p.broker.VHost(), QueuePrefix: p.broker.Names.QueuePrefix(), Retention: jobs.RetentionDefault,
		Announce: p.announcer.Announce, Log: p.log}
	return scheduler.Run(ctx)
}
