//go:build unix

package private_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
	"github.com/warrenjobs/warren/web/private"
)

func TestPrivate_ServersOutliveTheirOwners(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)

	first := startWarren(t, dir)
	info := owned(t, dir, first)
	t.Logf("first start: %v", first.took)
	require.Equal(t, 0o600, int(fileMode(t, filepath.Join(dir, "servers.json"))))
	fill(t, info, dir)
	ports := info.Ports
	victims := playTricks(t, dir, first)

	second := startWarren(t, dir)
	require.Equal(t, first.urls, second.urls, "a later starter follows")

	killWarren(t, first)
	began := time.Now()
	info = owned(t, dir, second)
	requireFilled(t, info)
	t.Logf("taken over after %v", time.Since(began))
	victims.requireUntouched(t)
	requireNoRoot(t, second)
	require.Equal(t, ports, info.Ports, "a follower takes over, on the same ports")

	killWarren(t, second)
	_, err := private.Read(dir)
	require.ErrorContains(t, err, "no Warren is running in "+dir)
}

func TestPrivate_ParallelStartersShareOneServer(t *testing.T) {
	t.Parallel()
	o := private.Options{Dir: privateDir(t), Postgres: true}
	opened := make(chan *private.Servers)
	for range 3 {
		go func() {
			p, err := private.Open(t.Context(), o)
			if err != nil {
				t.Error(err)
			}
			opened <- p
		}()
	}
	var owner *private.Servers
	var followers []*private.Servers
	for range 3 {
		p := <-opened
		require.NotNil(t, p)
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		if p.Owner() {
			require.Nil(t, owner, "one owner only")
			owner = p
		} else {
			followers = append(followers, p)
		}
	}
	require.NotNil(t, owner)
	for _, f := range followers {
		require.Equal(t, owner.DatabaseURL(), f.DatabaseURL())
	}
	runSQL(t, owner.DatabaseURL(), `CREATE TABLE kept (n int)`)

	// The server of a living owner dies.
	old := owner.Info().Processes["postgres"]
	require.NoError(t, syscall.Kill(old.Pid, syscall.SIGKILL))
	eventually(t, func() (bool, bool) { return true, owner.Info().Processes["postgres"] != old })
	runSQL(t, followers[0].DatabaseURL(), `INSERT INTO kept VALUES (1)`)

	// The owner closes cleanly.
	require.NoError(t, owner.Close(t.Context()))
	require.NoError(t, owner.Close(t.Context()), "a second close does nothing")
	eventually(t, func() (bool, bool) { return true, followers[0].Owner() != followers[1].Owner() })
	eventually(t, func() (bool, bool) { _, err := private.Read(o.Dir); return true, err == nil })
	runSQL(t, followers[0].DatabaseURL(), `INSERT INTO kept VALUES (2)`)
}

func TestPrivate_AFollowerThatNeedsMoreThanTheOwnerRunsIsTold(t *testing.T) {
	t.Parallel()
	o := private.Options{Dir: privateDir(t), Postgres: true}
	openPrivate(t, o)

	o.RabbitMQ = true
	_, err := private.Open(t.Context(), o)

	require.ErrorContains(t, err, "runs no private RabbitMQ: give this process the URL")
}

func TestPrivate_AKeptPortThatIsTakenIsReplaced(t *testing.T) {
	t.Parallel()
	o := private.Options{Dir: privateDir(t), Postgres: true}
	p := openPrivate(t, o)
	port := p.Info().Ports.Postgres
	require.NoError(t, p.Close(t.Context()))
	squatter, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	defer squatter.Close()

	p = openPrivate(t, o)

	require.NotEqual(t, port, p.Info().Ports.Postgres)
	runSQL(t, p.DatabaseURL(), `SELECT 1`)
}

func TestPrivate_AFolderThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	dir := privateDir(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	_, err := private.Open(t.Context(), private.Options{Dir: filepath.Join(file, "data"), Postgres: true})
	require.EqualError(t, err, "cannot use the data folder "+file+
		"/data (not a directory): set WARREN_DATA to a folder that this user can write")

	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	closed := filepath.Join(dir, "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	_, err = private.Open(t.Context(), private.Options{Dir: filepath.Join(closed, "data"), Postgres: true, RabbitMQ: true})
	require.ErrorContains(t, err, "cannot enter "+closed+": run `chmod o+x "+closed+"`, or set WARREN_DATA")
	require.NotContains(t, err.Error(), "\n")
}

func TestPrivate_AFolderThatOthersCanChangeIsNeitherUsedNorRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o777, 0o1777, 0o722} {
		dir := privateDir(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "servers.json"), []byte(`{"ready":true}`), 0o600))
		require.NoError(t, syscall.Chmod(dir, uint32(mode)))

		_, err := private.Open(t.Context(), private.Options{Dir: dir, Postgres: true})
		require.ErrorContains(t, err, "other users can write the data folder "+dir+": run `chmod go-w "+dir)
		_, err = private.Read(dir)
		require.ErrorContains(t, err, "other users can write the data folder")
		require.NoFileExists(t, filepath.Join(dir, "lock"))
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can read the folders of others")
	}
	dir := privateDir(t)
	require.NoError(t, os.Chown(dir, 65534, 65534))
	_, err := private.Read(dir)
	require.ErrorContains(t, err, dir+" belongs to the user nobody: run Warren as that user")
}

func TestPrivate_ReadPrivateSaysThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "never")
	_, err := private.Read(dir)
	require.ErrorContains(t, err, "no Warren is running in "+dir)
	require.NoDirExists(t, dir)
}

// TestPrivateHelper runs the warren process that the tests kill.
func TestPrivateHelper(t *testing.T) {
	dir := os.Getenv("WARREN_TEST_PRIVATE")
	if dir == "" {
		t.Skip("runs only as a process of its own")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	p, err := private.Open(context.Background(), private.Options{Dir: dir, Postgres: true, RabbitMQ: true, Log: log})
	require.NoError(t, err)
	fmt.Println(helperPrefix, p.DatabaseURL(), p.AMQPURL(), p.ManagementURL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test kills us or ends
	require.NoError(t, p.Close(context.Background()))
}

const helperPrefix = "open:"

type warrenProcess struct {
	pid    int
	urls   []string
	took   time.Duration
	exited chan struct{}
}

func startWarren(t *testing.T, dir string) *warrenProcess {
	t.Helper()
	began := time.Now()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestPrivateHelper$")
	cmd.Env = append(os.Environ(), "WARREN_TEST_PRIVATE="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	w := &warrenProcess{pid: cmd.Process.Pid, exited: make(chan struct{})}
	t.Cleanup(func() { _ = stdin.Close(); <-w.exited })

	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), helperPrefix) {
	}
	w.took = time.Since(began)
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
		close(w.exited)
	}()
	require.NoError(t, lines.Err())
	require.Greater(t, len(lines.Text()), len(helperPrefix), "the warren process did not open its servers")
	w.urls = strings.Fields(lines.Text())[1:]
	return w
}

// killWarren kills the process as the kernel would and requires that within ten seconds nothing is
// left of what it had started.
func killWarren(t *testing.T, w *warrenProcess) {
	t.Helper()
	children := descendants(t, w.pid)
	require.Greater(t, len(children), 5, "postgres and its workers, epmd, beam and its helpers")
	require.NoError(t, syscall.Kill(w.pid, syscall.SIGKILL))
	began := time.Now()
	<-w.exited
	eventually(t, func() (int, bool) {
		alive := 0
		for _, id := range children {
			if id.Alive() {
				alive++
			}
		}
		return alive, alive == 0
	})
	t.Logf("all %d processes gone %v after SIGKILL", len(children), time.Since(began))
}

func descendants(t *testing.T, pid int) []child.Identity {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	require.NoError(t, err)
	var all []child.Identity
	for _, file := range files {
		text, _ := os.ReadFile(file) // a thread may have ended
		for _, field := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(field)
			require.NoError(t, err)
			all = append(append(all, child.Identify(n)), descendants(t, n)...)
		}
	}
	return all
}

// owned waits until the process owns the folder and returns what it runs.
func owned(t *testing.T, dir string, w *warrenProcess) *private.Info {
	t.Helper()
	return eventually(t, func() (*private.Info, bool) {
		info, err := private.Read(dir)
		return info, err == nil && info.Owner.Pid == w.pid
	})
}

func fill(t *testing.T, info *private.Info, dir string) {
	t.Helper()
	runSQL(t, info.DatabaseURL, `CREATE TABLE kept AS SELECT 1`)
	callBroker(t, info, http.MethodPut, "/api/queues/%2F/kept", `{"durable":true,"arguments":{"x-queue-type":"quorum"}}`)
	callBroker(t, info, http.MethodPost, "/api/exchanges/%2F/amq.default/publish",
		`{"routing_key":"kept","payload":"hello","payload_encoding":"string","properties":{"delivery_mode":2}}`)
	// RabbitMQ 3.10 writes the name of a new quorum queue some 3 s late.
	eventually(t, func() (bool, bool) {
		names, err := os.ReadFile(filepath.Join(dir, "rabbitmq/mnesia/warren@localhost/quorum/warren@localhost/names.dets"))
		return true, err == nil && bytes.Contains(names, []byte("%2F_kept"))
	})
}

func requireFilled(t *testing.T, info *private.Info) {
	t.Helper()
	runSQL(t, info.DatabaseURL, `SELECT * FROM kept`)
	var messages []struct{ Payload string }
	text := callBroker(t, info, http.MethodPost, "/api/queues/%2F/kept/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`)
	require.NoError(t, json.Unmarshal(text, &messages), string(text))
	require.Len(t, messages, 1)
	require.Equal(t, "hello", messages[0].Payload)
}

func callBroker(t *testing.T, info *private.Info, method, path, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, info.ManagementURL+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Close = true // the server changes between calls
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, string(text))
	return text
}

func runSQL(t *testing.T, url, sql string) {
	t.Helper()
	conn := eventually(t, func() (*pgx.Conn, bool) {
		conn, err := pgx.Connect(t.Context(), url)
		return conn, err == nil
	})
	defer conn.Close(context.Background())
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func openPrivate(t *testing.T, o private.Options) *private.Servers {
	t.Helper()
	p, err := private.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// privateDir returns a folder whose parents every user may enter, unlike t.TempDir's.
func privateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warren-private-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func fileMode(t *testing.T, file string) os.FileMode {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Mode().Perm()
}

// eventually polls until the second result is true and returns the first. A
// busy machine takes more than a minute to start a broker.
func eventually[T any](t *testing.T, ask func() (T, bool)) T {
	t.Helper()
	var got T
	require.Eventually(t, func() bool {
		answer, ok := ask()
		if ok {
			got = answer
		}
		return ok
	}, 5*time.Minute, 50*time.Millisecond)
	return got
}
