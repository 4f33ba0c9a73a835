package jobs

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Numbers of sessions (engine.md, "Who is gone").
const (
	SessionTTL   = 15 * time.Second
	SessionRenew = 2 * time.Second
	// sessionLost: a holder that could not renew for so long gives up its runs before others may take them.
	sessionLost = 12 * time.Second
)

// Session is the lease of this process in the database.
type Session interface {
	Holder() Holder
	// Renew moves the expiry; ErrLost says that it came too late.
	Renew(ctx context.Context) error
	CancelRequested(ctx context.Context) ([]uuid.UUID, error)
	Close(ctx context.Context) error
}

// closeSession gives up what a session holds, as far as the database answers soon.
func closeSession(ctx context.Context, s Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return s.Close(ctx)
}
