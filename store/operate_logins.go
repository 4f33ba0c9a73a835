package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// LoginSeries returns the series that valid logins belong to, and whether the login with this id
// was ended.
func (s *Store) LoginSeries(ctx context.Context, id uuid.UUID) (series uuid.UUID, ended bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT login_series, EXISTS (SELECT FROM warren.ended_logins WHERE id = $1) FROM warren.deployment`, id).
		Scan(&series, &ended)
	if err != nil {
		return series, ended, fmt.Errorf("look up a login: %w", err)
	}
	return series, ended, nil
}

// EndLogin ends a login whose cookie would be valid until then. Idempotent. It also forgets ended
// logins whose cookies are over by any clock.
func (s *Store) EndLogin(ctx context.Context, id uuid.UUID, until time.Time, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM warren.ended_logins WHERE until < clock_timestamp() - interval '1 day'`); err != nil {
			return err
		}
		added, err := tx.Exec(ctx, `INSERT INTO warren.ended_logins (id, until) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, until)
		if err != nil || added.RowsAffected() == 0 {
			return err
		}
		return audit(ctx, tx, by, "access.signed_out", "account:"+by.Name, nil)
	})
	if err != nil {
		return fmt.Errorf("end a login: %w", err)
	}
	return nil
}

// EndAllLogins ends every login there is.
func (s *Store) EndAllLogins(ctx context.Context, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE warren.deployment SET login_series = gen_random_uuid()`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM warren.ended_logins`); err != nil { // they are of the old series
			return err
		}
		return audit(ctx, tx, by, "access.signed_out_everywhere", "account:"+by.Name, nil)
	})
	if err != nil {
		return fmt.Errorf("end all logins: %w", err)
	}
	return nil
}
