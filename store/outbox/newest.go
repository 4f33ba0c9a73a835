package outbox

import (
	"context"
	"fmt"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
)

// keyMax bounds the key of NewestTx: it is part of an index.
const keyMax = 500

// NewestTx orders events by version: inside the caller's transaction it records that the subscriber
// of d has reached the version of the thing that key names, and reports whether no newer one was
// handled before. If one was, the handler has nothing to do. The same version again is the newest,
// so that a repeated event has the same effect.
//
// It locks the key until tx ends: another run with the same key waits. The row of a key is kept for
// ever, as an old event may come at any time. Errors: jobs.FieldErrors for a bad key; PostgreSQL's
// 40P01 and 40001 mean that the transaction should run again.
func NewestTx(ctx context.Context, tx Tx, d *events.Delivery, key string, version int64) (bool, error) {
	if key == "" || len(key) > keyMax || !jobs.PlainText(key) {
		return false, jobs.FieldErrors{{Field: "key", Message: fmt.Sprintf("must be plain text of 1 to %d bytes", keyMax)}}
	}
	// A row that the condition excludes is locked, too.
	reached, err := tx.texts(ctx, `
		INSERT INTO warren.handled_versions AS h (subscriber, key, version) VALUES ($1, $2, $3)
		ON CONFLICT (subscriber, key) DO UPDATE SET version = excluded.version WHERE h.version <= excluded.version
		RETURNING version::text`, d.Run.Kind, key, version)
	if err != nil {
		return false, fmt.Errorf("record version %d of %s: %w", version, key, err)
	}
	return len(reached) == 1, nil
}
