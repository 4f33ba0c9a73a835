package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrTooNew says that the schema is too new for this binary.
var ErrTooNew = errors.New("the database schema is too new")

// Migrate brings the schema up to this binary's version. Safe to call from any
// number of processes at once; idempotent. A schema that is more than one
// version newer than the binary is refused: upgrades roll one version at a time.
func (s *Store) Migrate(ctx context.Context) error {
	db := stdlib.OpenDBFromPool(s.pool)
	defer func() { _ = db.Close() }() // closes the wrapper, not the pool
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read the embedded migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // looks every second: goose's own 5 s would be felt at each first start
	if err != nil {
		return fmt.Errorf("prepare the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithTableName("warren_migrations"))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", redact(err))
	}
	if current > target+1 {
		return fmt.Errorf("%w: it has version %d and this warren knows %d; run a newer warren", ErrTooNew, current, target)
	}
	if current >= target {
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database to version %d: %w", target, redact(err))
	}
	return nil
}

// Migrated says whether the schema is there and as new as this binary needs.
func (s *Store) Migrated(ctx context.Context) (bool, error) {
	var there bool
	if err := s.pool.QueryRow(ctx, `SELECT to_regclass('warren_migrations') IS NOT NULL`).Scan(&there); err != nil || !there {
		return false, schemaError(err)
	}
	var version int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM warren_migrations WHERE is_applied`).Scan(&version)
	return version >= newestVersion(), schemaError(err)
}

func schemaError(err error) error {
	if err != nil {
		return fmt.Errorf("look for the schema: %w", redact(err))
	}
	return nil
}

// newestVersion is the number of the newest embedded migration.
func newestVersion() (newest int64) {
	files, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is right
	for _, f := range files {
		if v, err := goose.NumericComponent(f); err == nil {
			newest = max(newest, v)
		}
	}
	return newest
}
