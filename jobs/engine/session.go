package engine

import (
	"context"
	"time"
)

// Timing of sessions (engine.md, "Who is gone").
const (
	SessionTTL   = 15 * time.Second
	SessionRenew = 2 * time.Second
	// SessionSilent: a holder whose lock is free is gone only if it has not renewed for this long.
	// A live holder takes its lock again when it renews.
	SessionSilent = SessionRenew + time.Second
	// sessionExposed: a holder that could not renew for this long gives up the runs whose messages
	// the broker may have redelivered, before SessionSilent is over.
	sessionExposed = SessionSilent - 500*time.Millisecond
	// sessionLost: a holder that could not renew for this long gives up its runs, before others may
	// take them.
	sessionLost = 12 * time.Second
)

// Session is the lease of this process in the database.
type Session interface {
	Holder() Holder
	// Renew extends the lease; ErrLost means that it had expired.
	Renew(ctx context.Context) error
	// CancelRequested lists the session's runs, by job and lease, that were asked to stop.
	CancelRequested(ctx context.Context) ([]Result, error)
	// Running lists the runs, by job and lease, that the database has under this session.
	Running(ctx context.Context) ([]Result, error)
	Close(ctx context.Context) error
}

// closeSession closes a session even if ctx has ended; it waits for the database for at most 5 s.
func closeSession(ctx context.Context, s Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.Close(ctx)
}
