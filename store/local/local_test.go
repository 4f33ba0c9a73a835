//go:build unix

package local

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

func TestLocal_ServerKeepsItsDataAcrossStopAndCrash(t *testing.T) {
	t.Parallel()
	o := Options{Dir: dataDir(t)}
	other, leftover := dataDir(t), filepath.Join(o.Dir, "postgres", "new-1")
	require.NoError(t, os.WriteFile(filepath.Join(other, "kept"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Dir(leftover), 0o700))
	require.NoError(t, os.Symlink(other, leftover))

	s := mustStart(t, o)
	require.NoFileExists(t, leftover)
	require.FileExists(t, filepath.Join(other, "kept"))
	run(t, s, `CREATE TABLE kept (n int)`)
	run(t, s, `INSERT INTO kept VALUES (1)`)
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a second stop does nothing")

	s = mustStart(t, o)
	run(t, s, `INSERT INTO kept VALUES (2)`)
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	<-s.Done()

	// The crash left a postmaster.pid; by now its pid may belong to any process, even to this one.
	stalePid(t, o.Dir)
	s = mustStart(t, o)
	require.Equal(t, 3, query(t, s, `SELECT sum(n) FROM kept`))
	require.Equal(t, 200, query(t, s, `SELECT current_setting('max_connections')::int`))
	require.Equal(t, 1, query(t, s, `SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'on'`))
	requireClosed(t, s)
}

// requireClosed requires that nobody gets in from elsewhere, or without a password.
func requireClosed(t *testing.T, s *Server) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.AdminURL())
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var listens, sockets string
	var open int
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories'),
			(SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256')`).Scan(&listens, &sockets, &open))
	require.Equal(t, "127.0.0.1", listens)
	require.Empty(t, sockets)
	require.Zero(t, open, "rules that let somebody in without a password")
}

func TestLocal_StartUnderAFolderThatTheServersUserCannotEnterNamesIt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	closed := filepath.Join(dataDir(t), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))

	_, err := Start(t.Context(), Options{Dir: filepath.Join(closed, "data")})

	require.ErrorContains(t, err, "the user postgres, who cannot enter "+closed+": run `chmod o+x "+closed+"`, or set WARREN_DATA")
	require.NotContains(t, err.Error(), "\n")
}

func TestLocal_DataOfAMissingVersionNamesTheVersion(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	data := filepath.Join(dir, "postgres", "data")
	require.NoError(t, os.MkdirAll(data, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("7\n"), 0o600))

	require.ErrorContains(t, Check(dir), "made by PostgreSQL 7, which is not installed")
}

func TestLocal_BinariesAreThoseOnPathThenTheNewest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"path", "9/bin", "17/bin"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, dir, "initdb"), nil, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, dir, "postgres"), nil, 0o755))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(root, "18/bin"), 0o755)) // without programs

	found := findBinaries([]string{filepath.Join(root, "empty"), filepath.Join(root, "path")}, []string{root + "/[0-9]*/bin"})

	require.Equal(t, []string{filepath.Join(root, "path"), filepath.Join(root, "17/bin"), filepath.Join(root, "9/bin")}, found)
}

// dataDir returns a folder whose parents every user may enter, unlike t.TempDir's.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warren-postgres-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func mustStart(t *testing.T, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	s, err := Start(ctx, o)
	require.NoError(t, err)
	t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func stalePid(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "postgres", "data", "postmaster.pid")
	require.FileExists(t, file)
	info, err := os.Stat(filepath.Dir(file))
	require.NoError(t, err)
	// A process of the server's own user, which postgres would take for a living postmaster.
	stat := info.Sys().(*syscall.Stat_t)
	bystander := startBystander(t, stat.Uid, stat.Gid)
	require.NoError(t, os.WriteFile(file, []byte(bystander+"\n"), 0o600))
	require.NoError(t, os.Chown(file, int(stat.Uid), int(stat.Gid)))
}

func run(t *testing.T, s *Server, sql string) {
	t.Helper()
	conn := connect(t, s)
	defer conn.Close(context.Background())
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func query(t *testing.T, s *Server, sql string) (n int) {
	t.Helper()
	conn := connect(t, s)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func connect(t *testing.T, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	return conn
}

func startBystander(t *testing.T, uid, gid uint32) string {
	t.Helper()
	p, err := child.Start(child.Spec{
		Path: "sleep", Args: []string{"60"}, Log: filepath.Join(t.TempDir(), "log"),
		User: &child.User{UID: uid, GID: gid},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return strconv.Itoa(p.Pid())
}

// ownerName returns the name of the user that a file belongs to.
func ownerName(t *testing.T, info os.FileInfo) string {
	t.Helper()
	return child.User{UID: info.Sys().(*syscall.Stat_t).Uid}.Name()
}
