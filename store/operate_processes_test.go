package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// process inserts the row of a process.
func process(t *testing.T, s *store.Store, name string, roles ...string) engine.Process {
	t.Helper()
	p := engine.Process{ID: uuid.Must(uuid.NewV7()), Name: name, Host: "h", PID: 7, Roles: roles, Version: "v1",
		State: engine.ProcessRunning}
	heartbeat(t, s, p, "")
	return p
}

func heartbeat(t *testing.T, s *store.Store, p engine.Process, done engine.ProcessCommand) engine.ProcessCommand {
	t.Helper()
	command, _, err := s.Heartbeat(t.Context(), p, done)
	require.NoError(t, err)
	return command
}

func ask(t *testing.T, s *store.Store, p engine.Process, command engine.ProcessCommand) error {
	t.Helper()
	_, err := s.AskProcess(t.Context(), p.ID, command, somebody)
	return err
}

func TestProcesses_AProcessHearsOfAWishUntilItHasFulfilledIt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	p := process(t, s, "w", "worker")
	execute(t, conn, `LISTEN warren_process`)
	require.NoError(t, ask(t, s, p, engine.CommandQuiet))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	require.NoError(t, err)
	require.Equal(t, p.ID.String(), n.Payload)
	require.Equal(t, engine.CommandQuiet, heartbeat(t, s, p, ""))
	command, by, err := s.Heartbeat(t.Context(), p, "")
	require.NoError(t, err)
	require.Equal(t, []any{engine.CommandQuiet, "somebody"}, []any{command, by}, "also if the first answer was lost")
	p.State = engine.ProcessQuiet
	require.Empty(t, heartbeat(t, s, p, engine.CommandQuiet))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'process.quiet' AND target = 'process:w'
		AND actor = 'somebody'`))
}

func TestProcesses_ANewerWishIsNotLostWhileAnOlderOneIsFulfilled(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	p := process(t, s, "w", "worker")
	require.NoError(t, ask(t, s, p, engine.CommandQuiet))
	require.Equal(t, engine.CommandQuiet, heartbeat(t, s, p, ""))
	require.NoError(t, ask(t, s, p, engine.CommandResume))
	p.State = engine.ProcessQuiet
	require.Equal(t, engine.CommandResume, heartbeat(t, s, p, engine.CommandQuiet))
}

func TestProcesses_AWishThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	refused := func(p engine.Process, command engine.ProcessCommand) {
		t.Helper()
		var why *jobs.NotAllowedError
		require.ErrorAs(t, ask(t, s, p, command), &why)
		require.NotEmpty(t, why.Why)
	}
	relay, w := process(t, s, "r", "relay"), process(t, s, "w", "worker")
	refused(relay, engine.CommandQuiet)
	refused(w, engine.CommandResume)
	require.NoError(t, ask(t, s, w, engine.CommandQuiet))
	refused(w, engine.CommandQuiet)
	require.NoError(t, ask(t, s, w, engine.CommandStop))
	refused(w, engine.CommandStop)
	refused(w, engine.CommandResume)
	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '1 minute' WHERE name = 'r'`)
	refused(relay, engine.CommandStop)
	require.ErrorIs(t, ask(t, s, engine.Process{ID: uuid.New()}, engine.CommandStop), jobs.ErrNotFound)
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.audit`))
}

func TestProcesses_AProcessThatIsGoneIsShownForAWhile(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	process(t, s, "alive", "web")
	process(t, s, "gone", "web")
	left := process(t, s, "left", "web")
	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '4 minutes' WHERE name = 'gone'`)
	require.NoError(t, s.EndProcess(t.Context(), left.ID))
	require.NoError(t, s.SweepProcesses(t.Context()))
	page, err := s.Processes(t.Context(), engine.ProcessFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	states := map[string]engine.ProcessState{}
	for _, p := range page.Items {
		states[p.Name] = p.State
	}
	require.Equal(t, map[string]engine.ProcessState{"alive": engine.ProcessRunning, "gone": engine.ProcessIsGone,
		"left": engine.ProcessStopped}, states)
	page, err = s.Processes(t.Context(), engine.ProcessFilter{Alive: true}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	gone, err := s.GoneProcesses(t.Context(), "web")
	require.NoError(t, err)
	require.Equal(t, []string{"left", "gone"}, []string{gone[0].Name, gone[1].Name})
	_, totals, err := s.ProcessesWithTotals(t.Context(), engine.ProcessFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, 1, totals.Processes)

	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '6 minutes' WHERE name = 'gone'`)
	gone, err = s.GoneProcesses(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, gone, 1, "also before it is swept")
	require.NoError(t, s.SweepProcesses(t.Context()))
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.processes`))
}

func TestProcesses_TheDigestChangesWhenAProcessFallsSilentAndNotWithItsHeartbeats(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	digest := func() string {
		d, err := s.ProcessDigest(t.Context())
		require.NoError(t, err)
		return d
	}
	none := digest()
	p := process(t, s, "a", "worker")
	running := digest()
	heartbeat(t, s, p, "")
	require.Equal(t, running, digest())
	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '8 seconds'`)
	silent := digest()
	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '20 seconds'`)
	gone := digest()
	for i, d := range []string{running, silent, gone} {
		require.NotContains(t, []string{none, running, silent, gone}[:i+1], d)
	}
}

func TestProcesses_AProcessIsShownWithWhatItRuns(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	p := process(t, s, "w", "worker", "relay")
	other := process(t, s, "other", "worker")
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Process: p.ID, Name: "w", Roles: []string{"worker"},
		Queues: []string{"default", "mail"}, Concurrency: 4})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	idle, err := s.OpenSession(t.Context(), store.SessionInfo{Process: other.ID, Name: "other", Roles: []string{"worker"}, Concurrency: 2})
	require.NoError(t, err)
	t.Cleanup(func() { _ = idle.Close(context.Background()) })
	ids := add(t, s, work(), work())
	for _, id := range ids {
		claim(t, s, session.Holder(), id)
	}
	require.NoError(t, s.SaveProgress(t.Context(), []engine.ProgressUpdate{{JobID: ids[0], Lease: 1, Progress: jobs.Progress{Done: 0.5,
		Note: "half"}}}))

	list := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[engine.Process], error) {
		return s.Processes(t.Context(), engine.ProcessFilter{Role: "worker"}, c, 1)
	})
	require.Len(t, list, 2)
	require.Equal(t, "other", list[0].Name)
	require.Empty(t, list[0].Worker.Running)
	w := list[1].Worker
	require.Equal(t, []string{"default", "mail"}, w.Queues)
	require.Equal(t, 2, w.Busy)
	require.Len(t, w.Running, 2)
	require.Equal(t, []any{ids[0], "work", 1, 1, "half"}, []any{w.Running[0].JobID, w.Running[0].Kind, w.Running[0].Attempt,
		w.Running[0].Lease, w.Running[0].Progress.Note})
	require.Nil(t, w.Running[1].Progress)

	totals := func() engine.ProcessTotals {
		_, totals, err := s.ProcessesWithTotals(t.Context(), engine.ProcessFilter{Role: "relay"}, jobs.Cursor{}, 10)
		require.NoError(t, err)
		totals.At = time.Time{}
		return totals
	}
	require.Equal(t, engine.ProcessTotals{Processes: 2, Workers: 2, Slots: 6, Busy: 2, Versions: []string{"v1"}}, totals())
	execute(t, conn, `UPDATE warren.processes SET seen_at = now() - interval '8 seconds' WHERE name = 'w'`)
	require.Equal(t, engine.ProcessTotals{Processes: 2, Silent: 1, Workers: 2, Slots: 2, Versions: []string{"v1"}}, totals(),
		"what a silent one does is not known")
}
