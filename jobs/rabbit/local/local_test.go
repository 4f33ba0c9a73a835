//go:build unix

package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

func TestLocal_ServerKeepsItsMessagesAcrossCrashAndStop(t *testing.T) {
	t.Parallel()
	o := Options{Dir: dataDir(t)}

	s := mustStart(t, o)
	require.Equal(t, http.StatusCreated, call(t, s, http.MethodPut, "/api/queues/%2F/kept",
		`{"durable":true,"arguments":{"x-queue-type":"quorum"}}`, nil))
	require.Equal(t, http.StatusOK, call(t, s, http.MethodPost, "/api/exchanges/%2F/amq.default/publish",
		`{"routing_key":"kept","payload":"hello","payload_encoding":"string","properties":{"delivery_mode":2}}`, nil))
	// RabbitMQ 3.10 writes the name of a new quorum queue some 3 s late: if it is killed before, it
	// has the queue but never finds its messages again.
	require.Eventually(t, func() bool { return namesQueue(t, o.Dir, "kept") }, 3*time.Minute, 50*time.Millisecond)
	require.NoError(t, syscall.Kill(s.Pids()[0], syscall.SIGKILL))
	<-s.Done()
	require.ErrorContains(t, s.Ended(), "killed")

	o.Ports = s.Ports()
	s = mustStart(t, o)
	require.Equal(t, o.Ports, s.Ports())
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a second stop does nothing")

	asBefore(t, o.Dir)
	s = mustStart(t, o)
	var got []struct{ Payload string }
	require.Equal(t, http.StatusOK, call(t, s, http.MethodPost, "/api/queues/%2F/kept/get",
		`{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}`, &got))
	require.NotEmpty(t, got)
	require.Equal(t, "hello", got[0].Payload)

	requireClosed(t, s)

	// Without epmd the broker could not be administered, so the server ends with it.
	require.NoError(t, syscall.Kill(s.Pids()[1], syscall.SIGKILL))
	<-s.Done()
	require.ErrorContains(t, s.Ended(), "epmd")
	require.Error(t, s.Ctl(t.Context(), "eval", "ok."))
	require.True(t, child.PortFree(s.Ports().Epmd), "a command that finds no epmd starts none: it would outlive everything")
}

// requireClosed requires that nobody gets in from elsewhere, or as guest.
func requireClosed(t *testing.T, s *Server) {
	t.Helper()
	var users []struct{ Name string }
	require.Equal(t, http.StatusOK, call(t, s, http.MethodGet, "/api/users", "", &users))
	require.Len(t, users, 1)
	require.Equal(t, "warren", users[0].Name)
	var overview struct{ Listeners []struct{ Port int } }
	require.Eventually(t, func() bool { // RabbitMQ 4 lists none for a moment after its start
		return call(t, s, http.MethodGet, "/api/overview", "", &overview) == http.StatusOK && len(overview.Listeners) >= 3
	}, time.Minute, 100*time.Millisecond, "AMQP, management, distribution")
	for _, l := range overview.Listeners {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.2:", l.Port)) // as good as any address of the machine
		if err == nil {
			_ = conn.Close()
		}
		require.Error(t, err, "port %d is open elsewhere than at 127.0.0.1", l.Port)
	}
}

func TestLocal_StartThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	_, err := Start(ctx, Options{Dir: dir})

	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { return !mentioned(t, dir) }, 3*time.Minute, 50*time.Millisecond)
}

func TestLocal_DebiansWrapperIsTheLastChoice(t *testing.T) {
	t.Parallel()
	programs, err := findPrograms()
	require.NoError(t, err)
	require.NotEqual(t, "/usr/sbin/rabbitmq-server", programs.server)
}

// asBefore makes the folder one of a Warren that ran the broker as root, if this is root.
func asBefore(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	home := filepath.Join(dir, "rabbitmq")
	require.NoError(t, filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 0, 0))
	}))
	require.NoError(t, os.Chmod(home, 0o700))
	require.NoError(t, os.Chmod(filepath.Join(home, "home"), 0o700))
}

// dataDir returns a folder whose parents every user may enter, unlike t.TempDir's.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warren-rabbitmq-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func namesQueue(t *testing.T, dir, queue string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "rabbitmq/mnesia/warren@localhost/quorum/warren@localhost/names.dets"))
	require.NoError(t, err)
	return bytes.Contains(text, []byte("%2F_"+queue))
}

// mentioned reports whether any process has the folder in its command line.
func mentioned(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir) {
			return true
		}
	}
	return false
}

func mustStart(t *testing.T, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	s, err := Start(ctx, o)
	require.NoError(t, err)
	t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { killNow(s.broker); <-s.Done() })
	return s
}

func call(t *testing.T, s *Server, method, path, body string, into any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.ManagementURL()+path, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	if into != nil {
		require.NoError(t, json.Unmarshal(text, into), string(text))
	}
	return response.StatusCode
}
