package child_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

func TestChild_StopAsksFirstAndWaits(t *testing.T) {
	t.Parallel()
	p := start(t, `trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done`, syscall.SIGINT)
	requireLine(t, p, "ready")

	require.NoError(t, p.Stop(t.Context()))

	require.Equal(t, "bye", p.Tail(1)[0])
	require.NoError(t, p.Err())
	require.NoError(t, p.Stop(t.Context()), "a second stop does nothing")
}

func TestChild_StopKillsTheWholeGroupWhenTimeIsUp(t *testing.T) {
	t.Parallel()
	p := start(t, `trap '' TERM; sleep 60 & echo $!; wait; while :; do sleep 0.01; done`, syscall.SIGTERM)
	require.Eventually(t, func() bool { return len(p.Tail(1)) == 1 }, 3*time.Minute, 10*time.Millisecond)
	pid, err := strconv.Atoi(p.Tail(1)[0])
	require.NoError(t, err)
	grandchild := child.Identify(pid)
	require.True(t, grandchild.Alive())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	require.ErrorIs(t, p.Stop(ctx), context.DeadlineExceeded)

	require.ErrorContains(t, p.Err(), "killed")
	require.Eventually(t, func() bool { return !grandchild.Alive() }, 3*time.Minute, 10*time.Millisecond)
}

func TestChild_ChildrenOutliveTheGoroutineAndThreadThatAskedForThem(t *testing.T) {
	t.Parallel()
	started := make(chan *child.Process)
	go func() { started <- start(t, `echo ready; sleep 60`, syscall.SIGTERM) }()
	p := <-started
	requireLine(t, p, "ready")
	select {
	case <-p.Done():
		t.Fatal("the child died with its starter")
	default:
	}
}

func TestChild_EndedTellsTheReasonFromTheLog(t *testing.T) {
	t.Parallel()
	p := start(t, `echo starting; echo 'FATAL: no room'; echo 'shut down'; exit 3`, syscall.SIGTERM)
	<-p.Done()
	require.ErrorContains(t, p.Ended(), "sh ended (exit status 3): FATAL: no room (see ")
}

func TestChild_RunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := child.Run(ctx, child.Spec{Path: "sleep", Args: []string{"60"}, Log: logFile(t)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestChild_AnIdentityIsOneProcessForGood(t *testing.T) {
	t.Parallel()
	p := start(t, `sleep 60`, syscall.SIGTERM)
	id := child.Identify(p.Pid())
	require.True(t, id.Alive())
	require.False(t, child.Identity{Pid: id.Pid, Started: id.Started + "0"}.Alive(), "the same pid of another time")
	require.False(t, child.Identity{}.Alive())

	id.Signal(syscall.SIGKILL)
	<-p.Done()

	require.False(t, id.Alive())
}

func TestChild_FreePortsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 100 {
		port, err := child.FreePort()
		require.NoError(t, err)
		require.False(t, seen[port])
		seen[port] = true
	}
}

func TestChild_ASecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	first, err := child.Secret(file)
	require.NoError(t, err)
	again, err := child.Secret(file)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.GreaterOrEqual(t, len(first), 20)
}

// Not parallel: it puts a fake docker on PATH.
func TestChild_AContainerRunsInTheForegroundAndKeepsSecretsOffTheCommandLine(t *testing.T) {
	bin := t.TempDir()
	fake := `#!/bin/sh
[ "$1" = run ] || { echo "$@"; exit 0; }
trap 'echo stopped; exit 0' INT
echo "$@"; echo "secret=$SECRET"
while :; do sleep 0.01; done
`
	require.NoError(t, os.WriteFile(filepath.Join(bin, "docker"), []byte(fake), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	require.True(t, child.Docker(t.Context()))
	volume := filepath.Join(t.TempDir(), "data")

	p, err := child.Container{
		Name: "box", Image: "image:1", Host: "host", Ports: map[int]int{25000: 5432}, Env: []string{"SECRET=s3cret"},
		Volume: volume, Mount: "/data", Args: []string{"-c", "x=1"}, Log: logFile(t), Stop: syscall.SIGINT,
	}.Start(t.Context())
	require.NoError(t, err)
	requireLine(t, p, "secret=s3cret")
	require.Equal(t, "run --rm --name box --hostname host --volume "+volume+
		":/data --publish 127.0.0.1:25000:5432 --env SECRET image:1 -c x=1", p.Tail(2)[0])
	require.DirExists(t, volume)

	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, "stopped", p.Tail(1)[0])
}

func start(t *testing.T, script string, stop syscall.Signal) *child.Process {
	p, err := child.Start(child.Spec{Path: "sh", Args: []string{"-c", script}, Log: logFile(t), Stop: stop})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Stop(ctx)
	})
	return p
}

func requireLine(t *testing.T, p *child.Process, line string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Join(p.Tail(1), "") == line }, 3*time.Minute, 10*time.Millisecond)
}

func logFile(t *testing.T) string { return filepath.Join(t.TempDir(), "log") }
