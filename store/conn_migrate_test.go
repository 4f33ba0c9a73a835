package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMigrate_ManyMayMigrateAtOnceAndAgain(t *testing.T) {
	t.Parallel()
	url := storetest.Database(t)
	var all sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		s, err := store.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(s.Close)
		all.Go(func() { errs[i] = errors.Join(s.Migrate(t.Context()), s.Migrate(t.Context())) })
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	s := storetest.Open(t, url)
	migrated, err := s.Migrated(t.Context())
	require.NoError(t, err)
	require.True(t, migrated)
	add(t, s, work())
}

func TestMigrate_AnEmptyDatabaseIsNotMigrated(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), storetest.Database(t))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	migrated, err := s.Migrated(t.Context())
	require.NoError(t, err)
	require.False(t, migrated)
	_, err = s.Enqueue(t.Context(), work())
	require.True(t, store.IsAway(err))
}

func TestMigrate_ADatabaseThatLacksTheLastMigrationIsNotMigrated(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `DELETE FROM warren.migrations WHERE version_id = (SELECT max(version_id) FROM warren.migrations)`)
	migrated, err := s.Migrated(t.Context())
	require.NoError(t, err)
	require.False(t, migrated)
}

func TestMigrate_ANewerSchemaServesThisBinaryUntilItSaysOtherwise(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for range 3 { // a release may bring several
		execute(t, conn, `INSERT INTO warren.migrations (version_id, is_applied) SELECT max(version_id) + 1, true FROM warren.migrations`)
		require.NoError(t, s.Migrate(t.Context()), "upgrades roll")
	}
	execute(t, conn, `UPDATE warren.deployment SET serves_from = (SELECT max(version_id) FROM warren.migrations)`)
	err := s.Migrate(t.Context())
	require.ErrorIs(t, err, store.ErrTooNew)
	require.ErrorContains(t, err, "run a newer warren")
}

// takesAway matches the changes that break a running binary of the previous version.
var takesAway = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|FUNCTION|TYPE)|RENAME\s+(TO|COLUMN)|` +
	`ALTER\s+COLUMN\s+\w+\s+(TYPE|SET\s+NOT\s+NULL|DROP\s+DEFAULT)|ADD\s+COLUMN[^,;]*NOT\s+NULL[^,;]*)`)

func TestMigrate_AMigrationThatTakesSomethingAwaySaysWhichBinariesItServes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for _, found := range takesAway.FindAllString(up, -1) {
			if strings.HasPrefix(found, "ADD") && strings.Contains(found, "DEFAULT") {
				continue // a column that older binaries need not name
			}
			require.Contains(t, up, "UPDATE warren.deployment SET serves_from", "%s: %s", file, found)
		}
	}
}

func TestMigrate_AWrongURLIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:geheim@h:port/x", "postgres://u:geheim@h/x?sslmode=nonsense", "mysql://u:geheim@h/x"} {
		_, err := store.Open(t.Context(), url)
		require.ErrorContains(t, err, "DATABASE_URL", url)
		require.NotContains(t, err.Error(), "geheim")
	}
}

// TestTransitions_OnesThatTheTableHasNotAreRefusedHere keeps the tests honest: all of them run on
// databases in which Warren's own transactions can make no transition outside of the table.
func TestTransitions_OnesThatTheTableHasNotAreRefusedHere(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := addIn(t, s, conn, jobs.Completed)
	require.ErrorContains(t, s.Gorm().Exec(`UPDATE warren.jobs SET state = 'running' WHERE id = ?`, id).Error,
		"no transition leads from completed to running")
	require.NoError(t, s.Gorm().Exec(`UPDATE warren.jobs SET state = 'queued' WHERE id = ?`, id).Error)
}
