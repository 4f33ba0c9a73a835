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

// Migrations holds the files that Migrate runs, in the form of goose.
func Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a constant that is valid
	}
	return files
}

// ErrTooNew says that the schema no longer serves this binary.
var ErrTooNew = errors.New("the database schema is too new")

// Migrate brings the schema up to this binary's version. Safe to call from any
// number of processes at once; idempotent. A schema that is newer than the
// binary is left as it is: upgrades roll, and it says which binaries it serves.
// One that does not serve this binary any more is refused with ErrTooNew.
// A pooler that Warren cannot work behind is refused with ErrPooler. With nothing
// to do it needs no more rights than to read.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.checkPooler(ctx); err != nil {
		return err
	}
	if current, err := s.schemaVersion(ctx); err == nil && current == newest() {
		return nil // goose's own look takes ten times as long, at each start
	}
	if err := s.prepareSchema(ctx); err != nil {
		return redact(err)
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer func() { _ = db.Close() }() // closes the wrapper, not the pool
	// looks every second: goose's own 5 s would be felt at each first start
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return fmt.Errorf("prepare the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, Migrations(),
		goose.WithSessionLocker(locker), goose.WithTableName(versionTable))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", redact(err))
	}
	if current > target {
		return s.checkServed(ctx, current, target)
	}
	if current == target {
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database to version %d: %w", target, redact(err))
	}
	return nil
}

// checkServed asks a schema that is newer than this binary whether it serves it.
func (s *Store) checkServed(ctx context.Context, current, target int64) error {
	var from int64
	if err := s.pool.QueryRow(ctx, `SELECT serves_from FROM warren.deployment`).Scan(&from); err != nil {
		return fmt.Errorf("read which binaries the schema serves: %w", redact(err))
	}
	if target < from {
		return fmt.Errorf("%w for this warren: it has version %d and serves those that know %d or newer, this one knows %d; run a "+
			"newer warren", ErrTooNew, current, from, target)
	}
	return nil
}

// Migrated says whether the schema is there and as new as this binary needs.
func (s *Store) Migrated(ctx context.Context) (bool, error) {
	version, err := s.schemaVersion(ctx)
	if isCode(err, codeUndefinedTable) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for Warren's tables: %w", err)
	}
	return version >= newest(), nil
}

func (s *Store) schemaVersion(ctx context.Context) (version int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`).Scan(&version)
	return version, err
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
