package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"

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
// A pooler that Warren cannot work behind is refused with ErrPooler. With nothing
// to do it needs no more rights than to read.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.checkPooler(ctx); err != nil {
		return err
	}
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
	var version int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM warren_migrations WHERE is_applied`).Scan(&version)
	if isCode(err, codeUndefinedTable) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for Warren's tables: %w", err)
	}
	return version >= newest(), nil
}

// newest is the version of the last migration of this binary.
var newest = sync.OnceValue(func() (last int64) {
	files, _ := migrations.ReadDir("migrations") // embedded: it is there
	for _, f := range files {
		if version, err := goose.NumericComponent(f.Name()); err == nil {
			last = max(last, version)
		}
	}
	return last
})
