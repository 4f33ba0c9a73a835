package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

// pooler runs a PgBouncer in front of the database of the URL, with one alias per pool mode, and
// returns their URLs.
func pooler(t *testing.T, database string) (through func(mode string) string) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not on every user's PATH
	}
	u, err := url.Parse(database)
	require.NoError(t, err)
	password, _ := u.User.Password()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(free.Addr().String())
	require.NoError(t, free.Close())

	settings := "[databases]\n"
	for _, mode := range []string{"session", "transaction", "statement"} {
		settings += fmt.Sprintf("%s = host=127.0.0.1 port=%s dbname=%s user=%s password=%s pool_mode=%s\n",
			mode, u.Port(), u.Path[1:], u.User.Username(), password, mode)
	}
	settings += "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = " + port + "\nauth_type = any\nunix_socket_dir =\n"
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o644))
	args := []string{file}
	if os.Geteuid() == 0 { // PgBouncer refuses to run as root
		require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(file)), 0o755))
		args = append(args, "-u", "postgres")
	}
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start(), "pgbouncer is needed for this test")
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	through = func(mode string) string { return "postgres://any@127.0.0.1:" + port + "/" + mode + "?sslmode=disable" }
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), through("session"))
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err == nil
	}, 3*time.Minute, 20*time.Millisecond)
	return through
}

func TestPooler_ATransactionPoolerIsRefusedAndASessionPoolerServes(t *testing.T) {
	t.Parallel()
	through := pooler(t, storetest.Database(t))
	for _, mode := range []string{"transaction", "statement"} {
		s, err := store.Open(t.Context(), through(mode))
		require.NoError(t, err)
		t.Cleanup(s.Close)
		err = s.Migrate(t.Context())
		require.ErrorIs(t, err, store.ErrPooler, mode)
		require.Contains(t, s.Explain(err), "pool_mode = session")
	}

	s := storetest.Open(t, through("session"))
	add(t, s, work())
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "here/1", Roles: []string{"worker"}, Concurrency: 1})
	require.NoError(t, err)
	require.NoError(t, session.Renew(t.Context()))
	require.NoError(t, session.Close(t.Context()))

	ctx, cancel := context.WithCancel(t.Context())
	heard, listening := make(chan store.Change, 10), make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- s.Listen(ctx, slog.New(slog.DiscardHandler), store.Listeners{Change: func(c store.Change) { heard <- c },
			Reconnected: func() { listening <- struct{}{} }})
	}()
	<-listening
	announcer := s.NewAnnouncer()
	announcer.Announce(engine.TopicQueues, "q")
	spoken := make(chan error, 1)
	go func() { spoken <- announcer.Run(ctx) }()
	require.Equal(t, engine.TopicQueues, (<-heard).Topic)
	cancel()
	require.NoError(t, errors.Join(<-done, <-spoken))
	led := false
	require.NoError(t, s.Lead(t.Context(), "test", func(context.Context) error { led = true; return nil }))
	require.True(t, led)
}
