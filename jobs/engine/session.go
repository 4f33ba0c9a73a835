package engine

import (
	"context"
	"time"
)

// Numbers of sessions (engine.md, "Who is gone").
const (
	SessionTTL   = 15 * time.Second
	SessionRenew = 2 * time.Second
	// SessionSilent: a holder whose lock is free is gone only if it has not renewed for
	// so long. One that lives takes its lock again when it renews.
	SessionSilent = SessionRenew + time.Second
	// sessionExposed: a holder that could not renew for so long gives up the runs whose
	// messages the broker may have redelivered, before SessionSilent is over.
	sessionExposed = SessionSilent - 500*time.Millisecond
	// sessionLost: a holder that could not renew for so long gives up its runs before others may take them.
	sessionLost = 12 * time.Second
)

// Session is the lease of this process in the database.
type Session interface {
	Holder() Holder
	// Renew moves the expiry; ErrLost says that it came too late.
	Renew(ctx context.Context) error
	// CancelRequested lists its runs, by job and lease, that were asked to stop.
	CancelRequested(ctx context.Context) ([]Result, error)
	// Running lists the runs, by job and lease, that the database has this session work on.
	Running(ctx context.Context) ([]Result, error)
	Close(ctx context.Context) error
}

// closeSession gives up what a session holds, as far as the database answers soon.
func closeSession(ctx context.Context, s Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.Close(ctx)
}
