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

// Migrations returns the files that Migrate runs, in goose's format.
func Migrations() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the name is a valid constant
	}
	return files
}

// ErrTooNew means that the schema no longer serves this binary.
var ErrTooNew = errors.New("the database schema is too new")

// Migrate brings the schema up to this binary's version. It is idempotent, safe to call from any
// number of processes at once, and needs only the right to read when there is nothing to do. A
// schema newer than the binary is left as it is, because upgrades roll; if it no longer serves this
// binary, the error is ErrTooNew. Behind a pooler that Warren cannot work with, the error is
// ErrPooler.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.checkPooler(ctx); err != nil {
		return err
	}
	if current, err := s.schemaVersion(ctx); err == nil && current == newest() {
		return nil // goose's own check takes ten times as long, at each start
	}
	if err := s.prepareSchema(ctx); err != nil {
		return redact(err)
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer func() { _ = db.Close() }() // closes the wrapper, not the pool
	// Tries every second: goose's default of 5 s would slow down each first start.
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

// checkServed returns ErrTooNew if a schema newer than this binary no longer serves it.
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

// Migrated reports whether the schema exists and is as new as this binary needs.
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
	files, _ := migrations.ReadDir("migrations") // embedded, so it exists
	for _, f := range files {
		if version, err := goose.NumericComponent(f.Name()); err == nil {
			last = max(last, version)
		}
	}
	return last
})
