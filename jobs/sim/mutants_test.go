//go:build mutants

package sim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutant is a mistake that is put into the engine, as a replacement of its text.
type mutant struct {
	name, file, old, new string
}

// TestSim_FindsEachMutant builds the engine with each mistake in turn, and runs
// the simulator until it finds it. MUTANT picks some by a regular expression.
func TestSim_FindsEachMutant(t *testing.T) {
	pick := regexp.MustCompile(os.Getenv("MUTANT"))
	for _, m := range mutants {
		if !pick.MatchString(m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			out, err := m.simulate(t)
			require.Error(t, err, "it was not found:\n%s", out)
			found := regexp.MustCompile(`found after \d+ steps: .*`).FindString(out)
			require.NotEmpty(t, found, "%s", out)
			fmt.Printf("%-50s %s\n", m.name, found)
		})
	}
}

func (m mutant) simulate(t *testing.T) (string, error) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(root, m.file))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), m.old), "the text to replace must stand once in %s", m.file)
	dir := t.TempDir()
	changed := filepath.Join(dir, "mutant.go")
	require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout=30m", "-overlay", filepath.Join(dir, "overlay.json"),
		"-run", "TestSim_NoSchedule", ".", "-args", "-rapid.nofailfile", "-rapid.shrinktime="+shrinkTime())
	out, err := cmd.CombinedOutput()
	require.NoError(t, os.WriteFile(filepath.Join(os.TempDir(), "mutant.log"), out, 0o600))
	return string(out), err
}

// shrinkTime: what counts here is that a mutant is found.
func shrinkTime() string {
	if s := os.Getenv("SHRINK"); s != "" {
		return s
	}
	return "0s"
}

// mutants are mistakes that the engine has had, and others of the same sort.
var mutants = []mutant{
	{
		"a claim is given to any delivery of its job", "jobs/worker_claim.go",
		`		if c, ok := claims[in.Key()]; ok {`,
		`		c, ok := claims[in.Key()]
		for key, other := range claims {
			if key.JobID == in.JobID {
				c, ok = other, true
				delete(claims, key)
			}
		}
		if ok {`,
	},
	{
		"a claim whose answer was lost counts as an attempt", "store/claim.go",
		`		return reclaim(ctx, tx, holder, d, row)`, `		return take(ctx, tx, holder, d, row, jobs.DeliveryClaimed)`,
	},
	{
		"a free lock and a redelivery are enough to be gone", "store/claim.go",
		`	if err != nil || !silent {`, `	if err != nil {`,
	},
	{
		"one locked row holds up the results of a batch", "store/complete.go",
		"state || '' = 'running' ORDER BY id FOR UPDATE SKIP LOCKED\n), done AS", "state || '' = 'running' ORDER BY id FOR UPDATE\n), done AS",
	},
	{
		"claim does not compare the dispatch", "store/claim.go",
		`j.state || '' = 'queued' AND j.dispatch = d.dispatch`, `j.state || '' = 'queued'`,
	},
	{
		"complete does not compare the lease", "store/complete.go",
		`	WHERE j.id = d.id AND j.state || '' = 'running' AND j.lease = d.lease
	RETURNING j.id, j.lease,`, `	WHERE j.id = d.id AND j.state || '' = 'running'
	RETURNING j.id, d.lease,`,
	},
	{
		"CompleteTx does not compare the lease", "store/complete_tx.go",
		`state = 'running' AND lease = $2`, `state = 'running' AND $2::int > 0`,
	},
	{
		"the relay removes what was not confirmed", "jobs/relay.go",
		`		case rc.Status == Confirmed:
			sent = append`, `		case rc.Status == Confirmed, rc.Status == Pending:
			sent = append`,
	},
	{
		"a take-over leaves no row of the run that it ends", "store/claim.go",
		`	if err := noteCrash(ctx, tx, d.JobID, row); err != nil {
		return jobs.Claim{}, err
	}
`, ``,
	},
	{
		"recovery keeps the dispatch", "store/sessions.go",
		`SET state = 'queued', dispatch = dispatch + 1, queued_at`, `SET state = 'queued', queued_at`,
	},
	{
		"a worker that lost its session lets its runs go on", "jobs/worker_stop.go",
		`	w.setRenewed(time.Time{})
	w.cancelAll(ErrLost)
	w.claiming.Lock()
	defer w.claiming.Unlock()
	w.cancelAll(ErrLost)`, `	w.setRenewed(time.Time{})`,
	},
	{
		"runs that the broker may have redelivered go on without renewal", "jobs/worker_stop.go",
		`		if active.exposed() {`, `		if false {`,
	},
	{
		"a claim that was on its way when the channel broke is not exposed", "jobs/worker_run.go",
		`in.channel != nil && in.channel.broke.Load()`, `in.channel != nil && in.channel.broke.Load() && len(a.acks) < 0`,
	},
	{
		"a channel that broke is noticed where deliveries are taken, alone", "jobs/worker_stop.go",
		`		w.channelBroke(c)
	}()`, `	}()`,
	},
	{
		"any redelivery of the dispatch shows that the holder is gone", "store/claim.go",
		`!d.Redelivered || row.SentAt == nil || !row.SentAt.Equal(d.SentAt)`, `!d.Redelivered`,
	},
	{
		"an earlier delivery of its message shows that the holder is gone", "store/claim.go",
		`return d.DeliveryCount > count, err`, `return d.DeliveryCount > 0, err`,
	},
	{
		"a dead letter waits for a row that somebody holds", "store/schedule.go",
		"queued+` FOR UPDATE SKIP LOCKED`", "queued+` FOR UPDATE`",
	},
	{
		"a message of an older dispatch is run", "jobs/claim.go",
		`	case dispatch < p.Dispatch:
		return VerdictStale`, `	case dispatch < p.Dispatch && p.State != Queued:
		return VerdictStale`,
	},
	{
		"a second delivery does not join the run of this process", "jobs/worker_claim.go",
		`	if active == nil {
		return 0, false`, `	if true {
		return 0, false`,
	},
	{
		"a release does not compare the lease", "store/complete.go",
		`			FROM d JOIN free USING (id) WHERE j.id = d.id AND j.state = 'running' AND j.lease = d.lease`,
		`			FROM d JOIN free USING (id) WHERE j.id = d.id AND j.state = 'running'`,
	},
	{
		"a snoozed run counts as an attempt", "store/snooze.go",
		`interval '1 second', attempt = attempt - 1,`, `interval '1 second',`,
	},
	{
		"a run that called CompleteTx is taken for committed", "jobs/worker_run.go",
		`			if yes {`, `			if yes || true {`,
	},
	{
		"runs are given back with the claims that were not answered", "jobs/worker_stop.go",
		`	held = slices.DeleteFunc(held, w.holds)
`, ``,
	},
	{
		"a dead letter of a running job is dispatched", "store/schedule.go",
		`dispatch = $2 AND state = 'queued'`, `dispatch = $2 AND state IN ('queued', 'running')`,
	},
	{
		"lost messages are not looked for", "jobs/reconciler.go",
		`	lost := Lost{Queue: q.Queue}`, `	return Lost{}
	lost := Lost{Queue: q.Queue}`,
	},
}
