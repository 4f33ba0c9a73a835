package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren/jobs/engine"
)

// OutboxClaim is a batch of outbox rows that an open transaction has locked. Not safe for
// concurrent use.
type OutboxClaim struct {
	conn     *pgxpool.Conn // nil once the claim has ended
	messages []engine.Message
	next     int64
}

// ClaimOutbox locks up to limit of the due rows that pick selects with ids above after, in order.
// The caller must Settle or Release the claim within a few seconds: it is an open transaction.
func (s *Store) ClaimOutbox(ctx context.Context, pick engine.OutboxPick, limit int, after int64) (engine.OutboxClaim, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim outbox rows: %w", err)
	}
	claim := &OutboxClaim{conn: conn, next: after}
	if err := claim.take(ctx, pick, limit, after); err != nil {
		claim.Release(ctx)
		return nil, fmt.Errorf("claim outbox rows: %w", err)
	}
	return claim, nil
}

// Overlooked implements engine.Outbox.
func (s *Store) Overlooked(ctx context.Context, pick engine.OutboxPick, below int64) (id int64, err error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	from, err := s.outboxFrom(ctx, below-1)
	if err != nil {
		return 0, fmt.Errorf("look for overlooked outbox rows: %w", err)
	}
	where, args := pickSQL(pick, from, below)
	due := `SELECT id FROM warren.outbox WHERE ` + where + ` AND ` + relayable + ` AND not_before <= clock_timestamp() AND id < $2 AND `
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, indexOnly); err != nil {
			return err
		}
		for _, rows := range []string{`tries > 0 AND id <= $1`, `id > $1`} {
			err := tx.QueryRow(ctx, due+rows+` ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`, args...).Scan(&id)
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look for overlooked outbox rows: %w", err)
	}
	return id, nil
}

// pickSQL returns the condition of a pick, and args with the condition's own argument at the end.
func pickSQL(pick engine.OutboxPick, args ...any) (where string, all []any) {
	where, next := outboxWhere[pick.Rows], fmt.Sprintf("$%d", len(args)+1)
	switch {
	case pick.Queue != "":
		return where + ` AND routing_key = ` + next, append(args, pick.Queue)
	case len(pick.Without) > 0:
		return where + ` AND (job_id IS NULL OR routing_key <> ALL(` + next + `))`, append(args, pick.Without)
	}
	return where, args
}

// take begins the transaction and claims the rows, in one round trip.
func (c *OutboxClaim) take(ctx context.Context, pick engine.OutboxPick, limit int, after int64) error {
	where, args := pickSQL(pick, after, limit)
	var batch pgx.Batch
	batch.Queue(`BEGIN`)
	batch.Queue(indexOnly)
	batch.Queue(`
		SELECT id, coalesce(job_id, '00000000-0000-0000-0000-000000000000'), coalesce(dispatch, 0), coalesce(exchange, ''),
			routing_key, message_id::text, type, coalesce(content_type, ''), headers, body, required, tries
		FROM warren.outbox WHERE `+where+` AND `+relayable+` AND id > $1 AND not_before <= clock_timestamp()
		ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED`, args...).Query(func(found pgx.Rows) (err error) {
		c.messages, err = pgx.CollectRows(found, scanMessage)
		return err
	})
	if err := c.conn.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if n := len(c.messages); n > 0 {
		c.next = c.messages[n-1].OutboxID
	}
	return nil
}

func scanMessage(row pgx.CollectableRow) (engine.Message, error) {
	var m engine.Message
	var headers *json.RawMessage
	err := row.Scan(&m.OutboxID, &m.JobID, &m.Dispatch, &m.Exchange, &m.RoutingKey, &m.MessageID, &m.Type, &m.ContentType, &headers,
		&m.Body,
		&m.Required, &m.Tries)
	if headers != nil {
		m.Headers = *headers
	}
	return m, err
}

// Messages returns the claimed rows, oldest first.
func (c *OutboxClaim) Messages() []engine.Message { return c.messages }

// Next implements engine.OutboxClaim.
func (c *OutboxClaim) Next() int64 { return c.next }

// Settle removes the rows that were sent, marks the events (by message id) that no subscriber
// received, backs off the failed rows, and commits: in one round trip.
func (c *OutboxClaim) Settle(ctx context.Context, sent []int64, unheard []string, failed []engine.OutboxBackoff) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	defer c.Release(ctx)
	var batch pgx.Batch
	if len(sent) > 0 {
		batch.Queue(`DELETE FROM warren.outbox WHERE id = ANY($1)`, sent)
	}
	if len(unheard) > 0 {
		batch.Queue(`UPDATE warren.events SET unheard_at = clock_timestamp() WHERE id = ANY($1::uuid[])`, unheard)
	}
	if len(failed) > 0 {
		backOff(&batch, failed)
	}
	batch.Queue(`COMMIT`)
	if err := c.conn.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("settle outbox rows (%d sent, %d not): %w", len(sent), len(failed), err)
	}
	return nil
}

func backOff(batch *pgx.Batch, failed []engine.OutboxBackoff) {
	ids, waits, errs := make([]int64, len(failed)), make([]float64, len(failed)), make([]string, len(failed))
	for i, f := range failed {
		ids[i], waits[i], errs[i] = f.OutboxID, f.Wait.Seconds(), f.Error
	}
	batch.Queue(`
		UPDATE warren.outbox o SET tries = tries + 1, last_error = f.error, not_before = clock_timestamp() + f.wait * interval '1 second'
		FROM unnest($1::bigint[], $2::float8[], $3::text[]) AS f(id, wait, error) WHERE o.id = f.id`, ids, waits, errs)
}

// Release unlocks the rows unchanged. Idempotent.
func (c *OutboxClaim) Release(ctx context.Context) {
	if c.conn == nil {
		return
	}
	conn := c.conn
	c.conn = nil
	if conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		end := `ROLLBACK`
		if len(c.messages) == 0 { // an idle relay ends ten of these a second, which would look like failures in the statistics
			end = `COMMIT`
		}
		_, _ = conn.Exec(ctx, end)
	}
	conn.Release() // the pool closes a connection that is still in a transaction
}

// RemoveSent removes rows whose confirm came after their claim had ended. It skips a row that
// another relay has locked: that relay sends it once more, and removes it. Idempotent.
func (s *Store) RemoveSent(ctx context.Context, ids []int64) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	if err := s.byIndex(ctx, nil, `
		DELETE FROM warren.outbox WHERE id IN (SELECT id FROM warren.outbox WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED)`,
		ids); err != nil {
		return fmt.Errorf("remove late confirmed outbox rows: %w", err)
	}
	return nil
}

// RelayBusy records for how long callers of Enqueue need not wake a relay, and that this relay has
// claimed rows up to claimed. It returns the highest id that any relay has claimed.
func (s *Store) RelayBusy(ctx context.Context, d time.Duration, claimed int64) (furthest int64, err error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `
		INSERT INTO warren.relay_busy (until, claimed) VALUES (clock_timestamp() + $1, $2)
		ON CONFLICT (one) DO UPDATE SET until = excluded.until, claimed = greatest(relay_busy.claimed, excluded.claimed)
		RETURNING claimed`, d, claimed).Scan(&furthest)
	if err != nil {
		return 0, fmt.Errorf("mark the relay busy: %w", err)
	}
	return furthest, nil
}

// OutboxStats describes the rows that wait for the relay: their number (capped at 10,001), the age
// of the oldest, and how many have failed. Jobs of a paused queue have no age: nobody is behind.
type OutboxStats struct {
	Waiting   int
	Events    int           // of those waiting
	OldestAge time.Duration // of those that a relay may send; 0 when there are none
	Failing   int
	LastError string
}

// Outbox reads the OutboxStats.
func (s *Store) Outbox(ctx context.Context) (OutboxStats, error) {
	from, err := s.outboxFrom(ctx, 0)
	if err != nil {
		return OutboxStats{}, fmt.Errorf("read the outbox: %w", err)
	}
	return outboxStats(ctx, s.pool, from)
}

// outboxStats reads the OutboxStats of the rows after from and of those that failed.
func outboxStats(ctx context.Context, db rowReader, from int64) (st OutboxStats, err error) {
	var age *float64
	err = db.QueryRow(ctx, `
		WITH waiting AS (`+outboxWaiting+`)
		SELECT count(*), count(*) FILTER (WHERE job_id IS NULL), `+outboxAge+`,
			(SELECT count(*) FROM (SELECT FROM warren.outbox WHERE tries > 0 ORDER BY id LIMIT 1001) x),
			coalesce((SELECT last_error FROM warren.outbox WHERE tries > 0 ORDER BY id LIMIT 1), '')
		FROM waiting`, from,
	).Scan(&st.Waiting, &st.Events, &age, &st.Failing, &st.LastError)
	if err != nil {
		return st, fmt.Errorf("read the outbox: %w", err)
	}
	if age != nil {
		st.OldestAge = time.Duration(max(*age, 0) * float64(time.Second))
	}
	return st, nil
}

// outboxAge is the age in seconds of the oldest row that a relay may send. It reads few rows, unless
// many of a paused queue are in front, and then at most 100,000.
const outboxAge = `(
	SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM (
		(SELECT created_at FROM (SELECT id, job_id, routing_key, created_at FROM warren.outbox WHERE tries > 0 AND id <= $1
			ORDER BY id LIMIT 100000) w WHERE ` + relayable + ` LIMIT 1)
		UNION ALL
		(SELECT created_at FROM (SELECT id, job_id, routing_key, created_at FROM warren.outbox WHERE id > $1
			ORDER BY id LIMIT 100000) w WHERE ` + relayable + ` LIMIT 1)
	) first)`

// outboxWaiting selects the oldest rows, at most 10,001: those after $1, and up to $1 those that
// failed.
const outboxWaiting = `
	SELECT job_id FROM (
		(SELECT job_id FROM warren.outbox WHERE tries > 0 AND id <= $1 ORDER BY id LIMIT 10001)
		UNION ALL
		(SELECT job_id FROM warren.outbox WHERE id > $1 ORDER BY id LIMIT 10001)
	) w LIMIT 10001`
