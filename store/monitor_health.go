package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Health is the state of a part of the deployment, as its own process last reported it, at the time
// At. A part that has not reported for long is not known to be well.
type Health struct {
	Component string          `json:"component"`
	OkAt      *time.Time      `json:"ok_at"`      // when it was last well
	DownSince *time.Time      `json:"down_since"` // nil while it is well
	Message   string          `json:"message"`    // the problem or, while it is well, the limitation
	Details   json.RawMessage `json:"details"`
	At        time.Time       `json:"at"`
}

// SaveHealth records the health of a component, by the database's clock. Nil details keep the
// former ones. changed reports whether a reader would see a difference other than the times.
func (s *Store) SaveHealth(ctx context.Context, component string, ok bool, message string, details any) (changed bool, err error) {
	var text *string
	if details != nil {
		raw, err := json.Marshal(details)
		if err != nil {
			return false, fmt.Errorf("write the health of %s: %w", component, err)
		}
		text = jsonText(raw)
	}
	err = s.pool.QueryRow(ctx, `
		WITH before AS (
			SELECT down_since IS NULL AS ok, message, details::text AS details FROM warren.health WHERE component = $1
		)
		INSERT INTO warren.health AS h (component, ok_at, down_since, message, details, at)
		VALUES ($1, CASE WHEN $2 THEN clock_timestamp() END, CASE WHEN NOT $2 THEN clock_timestamp() END, $3, $4::text::json,
			clock_timestamp())
		ON CONFLICT (component) DO UPDATE SET
			ok_at = coalesce(excluded.ok_at, h.ok_at),
			down_since = CASE WHEN NOT $2 THEN coalesce(h.down_since, excluded.down_since) END,
			message = excluded.message, details = coalesce(excluded.details, h.details), at = excluded.at
		RETURNING NOT EXISTS (SELECT FROM before WHERE ok = $2 AND message = $3 AND details IS NOT DISTINCT FROM h.details::text)`,
		component, ok, cleanText(message), text).Scan(&changed)
	if err != nil {
		return false, fmt.Errorf("write the health of %s: %w", component, err)
	}
	return changed, nil
}

// Health returns the last report of each component, by its name.
func (s *Store) Health(ctx context.Context) (map[string]Health, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `SELECT component, ok_at, down_since, message, details, at FROM warren.health`)
	if err != nil {
		return nil, fmt.Errorf("read the health: %w", err)
	}
	all := map[string]Health{}
	var h Health
	var details []byte
	_, err = pgx.ForEachRow(rows, []any{&h.Component, &h.OkAt, &h.DownSince, &h.Message, &details, &h.At}, func() error {
		h.Details = append(json.RawMessage(nil), details...)
		all[h.Component] = h
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the health: %w", err)
	}
	return all, nil
}
