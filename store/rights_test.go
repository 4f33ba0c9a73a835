package store_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

// role creates a login role with these options; as returns a database URL with that role as the
// user.
func role(t *testing.T, options string) (name string, as func(database string) string) {
	t.Helper()
	admin := storetest.URL(t)
	name = "r_" + uuid.NewString()[:8]
	run(t, admin, fmt.Sprintf(`CREATE ROLE %s %s PASSWORD 'geheim'`, name, options))
	t.Cleanup(func() { run(t, admin, `DROP ROLE `+name) })
	return name, func(database string) string {
		u, err := url.Parse(database)
		require.NoError(t, err)
		u.User = url.UserPassword(name, "geheim")
		return u.String()
	}
}

func run(t *testing.T, database, statement string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(context.Background(), statement)
	require.NoError(t, err)
}

func open(t *testing.T, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestRights_OneRoleMigratesAndALesserOneWorks(t *testing.T) {
	t.Parallel()
	owner, asOwner := role(t, "LOGIN")
	worker, asWorker := role(t, "LOGIN")
	database := storetest.Database(t)
	run(t, database, `CREATE SCHEMA warren AUTHORIZATION `+owner)
	require.NoError(t, open(t, asOwner(database)).Migrate(t.Context()))

	s := open(t, asWorker(database))
	err := s.Migrate(t.Context())
	require.Contains(t, s.Explain(err), `GRANT USAGE, CREATE ON SCHEMA "warren"`)
	run(t, asOwner(database), `GRANT USAGE ON SCHEMA warren TO `+worker)
	err = s.Migrate(t.Context())
	require.Contains(t, s.Explain(err), "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA warren")
	run(t, asOwner(database), `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA warren TO `+worker)
	require.NoError(t, s.Migrate(t.Context()), "there is nothing to do")
	id := add(t, s, work())[0]
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "here/1", Roles: []string{"worker"}, Concurrency: 1})
	require.NoError(t, err)
	c := claim(t, s, session.Holder(), id)
	require.Equal(t, []bool{true}, complete(t, s, completed(id, c.Lease)))
	require.NoError(t, session.Close(t.Context()))
}

func TestRights_ASchemaOfItsOwnIsEnough(t *testing.T) {
	t.Parallel()
	name, as := role(t, "LOGIN")
	database := storetest.Database(t)
	run(t, database, `CREATE SCHEMA warren AUTHORIZATION `+name)
	s := open(t, as(database))
	require.NoError(t, s.Migrate(t.Context()))
	migrated, err := s.Migrated(t.Context())
	require.NoError(t, err)
	require.True(t, migrated)
	add(t, s, work())
}

func TestRights_WhatPostgreSQLRefusesIsASentenceThatSaysWhatToRun(t *testing.T) {
	t.Parallel()
	name, as := role(t, "LOGIN")
	_, asNobody := role(t, "NOLOGIN")
	database := storetest.Database(t)
	wrong, err := url.Parse(as(database))
	require.NoError(t, err)
	wrong.User = url.UserPassword(name, "falsch")
	elsewhere, err := url.Parse(as(database))
	require.NoError(t, err)
	elsewhere.Path = "/nowhere"
	for url, says := range map[string]string{
		as(database):       `CREATE SCHEMA warren AUTHORIZATION "` + name + `"`,
		asNobody(database): "LOGIN",
		wrong.String():     "Check the user and the password of DATABASE_URL.",
		elsewhere.String(): `CREATE DATABASE "nowhere" OWNER "` + name + `"`,
	} {
		s := open(t, url)
		err := s.Migrate(t.Context())
		require.Error(t, err)
		require.Contains(t, s.Explain(err), says)
		require.NotContains(t, s.Explain(err)+err.Error(), "falsch")
	}
}
