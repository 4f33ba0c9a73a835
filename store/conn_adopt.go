package store

import (
	"context"
	"embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// versionTable is the table in which goose records the applied migrations.
const versionTable = "warren.migrations"

// prepareSchema creates the schema warren unless it exists, and moves into it the tables that a
// Warren before version 9 created in the first schema of the search_path. It is one transaction:
// nothing is lost or left behind, and of several concurrent callers one does the work.
func (s *Store) prepareSchema(ctx context.Context) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		const lock = 7_253_871_930_117_405_221 // arbitrary; no other lock of Warren's uses it
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lock)); err != nil {
			return fmt.Errorf("wait for others that migrate: %w", err)
		}
		var made, counted bool
		var old *string // schema that has the tables of a Warren before version 9
		err := tx.QueryRow(ctx, `
			SELECT to_regnamespace('warren') IS NOT NULL, to_regclass($1) IS NOT NULL,
				(SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('warren_migrations'))`, versionTable,
		).Scan(&made, &counted, &old)
		if err != nil {
			return fmt.Errorf("look for Warren's schema: %w", err)
		}
		if counted {
			return nil
		}
		if !made {
			if _, err := tx.Exec(ctx, `CREATE SCHEMA warren`); err != nil {
				return fmt.Errorf("make the schema warren: %w", err)
			}
		}
		if old == nil {
			return nil
		}
		return adopt(ctx, tx, *old)
	})
}

// adopt moves the tables from the schema old, a quoted identifier. A view and a version table stay
// in old, from which a Warren before version 9 finds that the schema is too new for it; without
// them it would create its tables again. The version table is copied to the new schema as well,
// which comes first in the search_path of a role named warren.
func adopt(ctx context.Context, tx pgx.Tx, old string) error {
	var version int64
	if err := tx.QueryRow(ctx, `SELECT max(version_id) FROM `+old+`.warren_migrations WHERE is_applied`).Scan(&version); err != nil {
		return fmt.Errorf("read the version of the tables in schema %s: %w", old, err)
	}
	names, err := tablesUpTo(migrations, version)
	if err != nil {
		return err
	}
	var sql []string
	stays := []string{"warren"}
	if old != "warren" { // DATABASE_URL may name warren itself as the search_path
		stays = append(stays, old)
		for _, name := range names {
			sql = append(sql, `ALTER TABLE `+old+`.`+name+` SET SCHEMA warren`)
		}
		if version >= 2 {
			sql = append(sql, `ALTER FUNCTION `+old+`.warren_failure(text) SET SCHEMA warren`)
		}
		sql = append(sql, `CREATE VIEW `+old+`.deployment AS SELECT 9 AS serves_from`)
		sql = append(sql, copyVersions(old+`.warren_migrations`, `warren.warren_migrations`)...)
	}
	if version >= 2 {
		sql = append(sql, `ALTER FUNCTION warren.warren_failure(text) RENAME TO failure`)
	}
	sql = append(sql, copyVersions(`warren.warren_migrations`, versionTable)...)
	for _, schema := range stays {
		sql = append(sql, `INSERT INTO `+schema+`.warren_migrations (version_id, is_applied) VALUES (9, true)`)
	}
	for _, statement := range sql {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("move Warren's tables from schema %s to warren (%s): %w", old, statement, err)
		}
	}
	return nil
}

// copyVersions returns the statements that copy one of goose's version tables.
func copyVersions(from, to string) []string {
	return []string{
		`CREATE TABLE ` + to + ` (LIKE ` + from + ` INCLUDING ALL)`,
		`INSERT INTO ` + to + ` (version_id, is_applied, tstamp) SELECT version_id, is_applied, tstamp FROM ` + from + ` ORDER BY id`,
	}
}

var createsTable = regexp.MustCompile(`CREATE (?:UNLOGGED )?TABLE warren\.(\w+)`)

// tablesUpTo lists the tables that the migrations up to version create.
func tablesUpTo(files embed.FS, version int64) (names []string, err error) {
	entries, err := files.ReadDir("migrations")
	if err != nil {
		return nil, fmt.Errorf("read the embedded migrations: %w", err)
	}
	for _, e := range entries {
		if number, err := goose.NumericComponent(e.Name()); err != nil || number > version {
			continue
		}
		text, err := files.ReadFile("migrations/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the embedded migrations: %w", err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for _, found := range createsTable.FindAllStringSubmatch(up, -1) {
			names = append(names, found[1])
		}
	}
	return names, nil
}
