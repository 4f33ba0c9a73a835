package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestManyMayMigrateAtOnceAndAgain(t *testing.T) {
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

func TestAnEmptyDatabaseIsNotMigrated(t *testing.T) {
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

func TestADatabaseThatLacksTheLastMigrationIsNotMigrated(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `DELETE FROM warren_migrations WHERE version_id = (SELECT max(version_id) FROM warren_migrations)`)
	migrated, err := s.Migrated(t.Context())
	require.NoError(t, err)
	require.False(t, migrated)
}

func TestASchemaOneVersionAheadServesAndTwoAreRefused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ahead := func() {
		execute(t, conn, `INSERT INTO warren_migrations (version_id, is_applied) SELECT max(version_id) + 1, true FROM warren_migrations`)
	}
	ahead()
	require.NoError(t, s.Migrate(t.Context()), "upgrades roll")
	ahead()
	require.ErrorIs(t, s.Migrate(t.Context()), store.ErrTooNew)
}

func TestAWrongURLIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:geheim@h:port/x", "postgres://u:geheim@h/x?sslmode=nonsense", "mysql://u:geheim@h/x"} {
		_, err := store.Open(t.Context(), url)
		require.ErrorContains(t, err, "DATABASE_URL", url)
		require.NotContains(t, err.Error(), "geheim")
	}
}
