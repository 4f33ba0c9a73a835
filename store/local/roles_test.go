//go:build unix

package local

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

// One start of a server for all that the role of applications may and may not do.
func TestRoles_DataOfAVersionBeforeIsKeptByARoleWithoutSuperuser(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	old := oldData(t, dir)
	victim := filepath.Join(dataDir(t), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(victim, filepath.Join(dir, "postgres", "password.initdb")))
	require.NoError(t, os.Symlink(filepath.Dir(victim), filepath.Join(dir, "postgres", "new-1")))

	s := mustStart(t, Options{Dir: dir})

	require.Equal(t, old, s.password, "the URL stays")
	run(t, s, `INSERT INTO warren.kept (mood) VALUES ('good'); SELECT warren.twice(1); ALTER TABLE warren.kept ADD more text;
		ALTER TYPE warren.mood ADD VALUE 'better'; CREATE INDEX ON warren.kept (more); TRUNCATE warren.kept RESTART IDENTITY;
		DROP VIEW warren.seen; CREATE OR REPLACE FUNCTION warren.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n';
		ALTER SEQUENCE warren.tickets RESTART; ALTER DOMAIN warren.small DROP CONSTRAINT small_check; DROP TABLE "Odd ""name";
		CREATE TABLE made_now (n int); DROP SCHEMA warren CASCADE; CREATE SCHEMA warren`)
	conn, err := pgx.Connect(t.Context(), s.url(name, s.password, "shop"))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `INSERT INTO orders VALUES (1); DROP TABLE orders; CREATE SCHEMA more`)
	require.NoError(t, err, "other databases of the server, too")

	require.Zero(t, query(t, s, `SELECT count(*) FROM pg_roles WHERE rolname IN ('warren_new', 'warren_swap')`))
	require.Zero(t, query(t, s, `SELECT count(*) FROM pg_roles WHERE rolname = 'warren' AND
		(rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)`))
	require.Zero(t, query(t, s, `SELECT count(*) FROM pg_auth_members WHERE member = 'warren'::regrole`))
	require.Equal(t, 1, query(t, s, `SELECT count(*) FROM pg_roles WHERE rolsuper`))
	for _, sql := range []string{
		`COPY (SELECT 'x') TO PROGRAM 'cat'`,
		`CREATE TEMP TABLE t (x text); COPY t FROM PROGRAM 'id'`,
		`COPY (SELECT 'x') TO '` + victim + `'`,
		`CREATE TEMP TABLE t (x text); COPY t FROM '/etc/passwd'`,
		`SELECT pg_read_file('PG_VERSION')`,
		`SELECT pg_read_binary_file('/etc/passwd')`,
		`SELECT pg_ls_dir('.')`,
		`SELECT pg_stat_file('/etc/passwd')`,
		`SELECT lo_import('/etc/passwd')`,
		`SELECT lo_export(lo_create(0), '` + victim + `')`,
		`CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'`,
		`CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'pg_reload_conf'`,
		`LOAD '/tmp/evil.so'`,
		`ALTER SYSTEM SET archive_command = 'id'`,
		`SELECT pg_reload_conf()`,
		`SET session_preload_libraries = 'evil'`,
		`SET ROLE warren_admin`,
		`SET SESSION AUTHORIZATION warren_admin`,
		`ALTER ROLE warren SUPERUSER`,
		`ALTER ROLE warren_admin PASSWORD 'x'`,
		`CREATE ROLE other SUPERUSER`,
		`GRANT warren_admin TO warren`,
		`GRANT pg_execute_server_program TO warren`,
		`SELECT * FROM pg_authid`,
		`UPDATE pg_database SET datdba = 10`,
		`CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p`,
		`CREATE TABLESPACE t LOCATION '/tmp'`,
	} {
		conn := connect(t, s)
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, conn.Close(t.Context()))
		require.Error(t, err, sql)
		require.True(t, hasCode(err, "42501"), "%s: not for want of a right: %v", sql, err) // SQLSTATE insufficient_privilege
	}

	text, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	if os.Geteuid() == 0 {
		info, err := os.Stat(filepath.Join(dir, "postgres"))
		require.NoError(t, err)
		require.Equal(t, "root", ownerName(t, info))
	}
}

// oldData makes a data folder as Warren left it when the only role was the superuser warren, and returns that role's password. As
// root it gave the whole folder away, not only the data.
func oldData(t *testing.T, dir string) (password string) {
	t.Helper()
	home, err := openFolder(dir)
	require.NoError(t, err)
	password, err = home.password()
	require.NoError(t, err)
	binaries, err := home.binaries()
	require.NoError(t, err)
	c, err := newCluster(home, binaries)
	require.NoError(t, err)
	require.NoError(t, child.Give(home.data(), c.user))
	require.NoError(t, child.Run(t.Context(), child.Spec{Path: filepath.Join(binaries, "initdb"), Args: []string{"--pgdata", home.data(),
		"--username", "warren", "--pwfile", "/dev/stdin", "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"},
		Env: environment(), Dir: home.data(), Log: home.log(), User: c.user, Input: password + "\n"}))
	s := &Server{password: password}
	s.port, err = child.FreePort()
	require.NoError(t, err)
	s.process, err = child.Start(c.server(s.port))
	require.NoError(t, err)
	in := func(database, sql string) {
		conn, err := s.connect(t.Context(), s.url("warren", password, database))
		require.NoError(t, err)
		defer conn.Close(context.Background())
		for _, line := range strings.Split(sql, ";\n") {
			_, err := conn.Exec(t.Context(), line)
			require.NoError(t, err, line)
		}
	}
	in("postgres", "CREATE DATABASE warren;\nCREATE DATABASE shop;\nCREATE ROLE warren_new") // the last: a process died on the way
	in("shop", "CREATE TABLE orders (n int)")
	in("warren", `CREATE SCHEMA warren;
CREATE TYPE warren.mood AS ENUM ('good');
CREATE DOMAIN warren.small AS int CONSTRAINT small_check CHECK (VALUE < 10);
CREATE TYPE warren.pair AS (a int, b int);
CREATE TABLE warren.kept (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, mood warren.mood, size warren.small);
CREATE SEQUENCE warren.tickets;
CREATE VIEW warren.seen AS SELECT id FROM warren.kept;
CREATE MATERIALIZED VIEW warren.old AS SELECT id FROM warren.kept;
CREATE FUNCTION warren.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
CREATE PROCEDURE warren.nothing() LANGUAGE sql AS '';
CREATE AGGREGATE warren.total(int) (SFUNC = int4pl, STYPE = int);
CREATE TABLE "Odd ""name" (n int)`)
	require.NoError(t, s.Stop(t.Context()))
	if c.user != nil {
		require.NoError(t, os.Chmod(home.path, 0o700))
		require.NoError(t, os.Chown(home.path, int(c.user.UID), int(c.user.GID)))
	}
	return password
}

func TestFolder_OfAVersionBeforeWithATrapInItIsRefused(t *testing.T) {
	t.Parallel()
	account, err := user.Lookup("postgres")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and a user postgres")
	}
	uid, err := strconv.Atoi(account.Uid)
	require.NoError(t, err)
	victim := filepath.Join(dataDir(t), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	for _, trap := range []string{"password", "superuser", "data", "docker", "log"} {
		for _, target := range []string{victim, filepath.Dir(victim), victim + "/none"} {
			dir := dataDir(t)
			home := filepath.Join(dir, "postgres")
			require.NoError(t, os.Mkdir(home, 0o700))
			require.NoError(t, os.Symlink(target, filepath.Join(home, trap)))
			require.NoError(t, os.Lchown(filepath.Join(home, trap), uid, uid))
			require.NoError(t, os.Chown(home, uid, uid))

			_, err := Start(t.Context(), Options{Dir: dir})

			require.ErrorContains(t, err, filepath.Join(home, trap)+" is a link", "%s -> %s", trap, target)
			info, err := os.Stat(victim)
			require.NoError(t, err)
			require.Equal(t, "root", ownerName(t, info))
			require.Equal(t, int64(len("precious")), info.Size())
		}
	}
}
