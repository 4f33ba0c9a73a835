package sim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutant is a mistake that is put into the engine, as a replacement of its text.
type mutant struct {
	name, file, old, new string
}

// make sim-mutants puts them in (mutants_run_test.go); here it is seen that the engine still has their texts.
func TestMutants_TextStandsOnce(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("../..", m.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), m.old), "%s: the text to replace must stand once in %s:\n%s", m.name, m.file, m.old)
	}
}

// mutants are mistakes that the engine has had, and others of the same sort.
var mutants = []mutant{
	{
		"a claim is given to any delivery of its job", "jobs/engine/worker_claim.go",
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
		"a claim whose answer was lost counts as an attempt", "store/engine_claim.go",
		`		return reclaim(ctx, tx, holder, d, row)`, `		return take(ctx, tx, holder, d, row, jobs.DeliveryClaimed)`,
	},
	{
		"a free lock and a redelivery are enough to be gone", "store/engine_claim.go",
		`	if err != nil || !silent {`, `	if err != nil {`,
	},
	{
		"one locked row holds up the results of a batch", "store/engine_endruns.go",
		"rules.From(action) + ` ORDER BY id FOR UPDATE SKIP LOCKED", "rules.From(action) + ` ORDER BY id FOR UPDATE",
	},
	{
		"claim does not compare the dispatch", "store/engine_claim.go",
		"rules.From(jobs.EngineClaim) + ` AND j.dispatch = d.dispatch", "rules.From(jobs.EngineClaim) + `",
	},
	{
		"the end of a run does not compare the lease", "store/engine_endruns.go",
		"rules.From(action) + ` AND j.lease = d.lease\n	RETURNING j.id, j.lease,",
		"rules.From(action) + `\n	RETURNING j.id, d.lease,",
	},
	{
		"CompleteTx does not compare the lease", "store/outbox/complete.go",
		`AND lease = $2`, `AND $2::int > 0`,
	},
	{
		"the relay removes what was not confirmed", "jobs/engine/relay.go",
		`		case rc.Status == Confirmed:
			sent = append`, `		case rc.Status == Confirmed, rc.Status == Pending:
			sent = append`,
	},
	{
		"a take-over leaves no row of the run that it ends", "store/engine_claim.go",
		`	if err := recordCrash(ctx, tx, d.JobID, row); err != nil {
		return engine.Claim{}, err
	}
`, ``,
	},
	{
		"recovery keeps the dispatch", "store/engine_sessions.go",
		`SET state = 'queued', dispatch = dispatch + 1, queued_at`, `SET state = 'queued', queued_at`,
	},
	{
		"a worker that lost its session lets its runs go on", "jobs/engine/worker_lease.go",
		`	w.runs.cancelAll(jobs.ErrLost)
	w.claiming.Lock()
	defer w.claiming.Unlock()
	w.runs.cancelAll(jobs.ErrLost)
}`, `	_ = jobs.ErrLost
}`,
	},
	{
		"runs that the broker may have redelivered go on without renewal", "jobs/engine/worker_runs.go",
		`func (t *runTable) cancelExposed(cause error) { t.cancel(cause, (*activeRun).exposed) }`, `func (t *runTable) cancelExposed(error) {}`,
	},
	{
		"a claim that was on its way when the channel broke is not exposed", "jobs/engine/worker_runs.go",
		`in.channel != nil && in.channel.broke.Load()`, `in.channel != nil && in.channel.broke.Load() && len(a.acks) < 0`,
	},
	{
		"a channel that broke is noticed where deliveries are taken, alone", "jobs/engine/worker_consume.go",
		`		w.channelBroke(c)
	}()`, `	}()`,
	},
	{
		"any redelivery of the dispatch shows that the holder is gone", "store/engine_claim.go",
		`!d.Redelivered || row.SentAt == nil || !row.SentAt.Equal(d.SentAt)`, `!d.Redelivered`,
	},
	{
		"an earlier delivery of its message shows that the holder is gone", "store/engine_claim.go",
		`return d.DeliveryCount > count, err`, `return d.DeliveryCount > 0, err`,
	},
	{
		"a dead letter waits for a row that somebody holds", "store/engine_due.go",
		"queued+` FOR UPDATE SKIP LOCKED`", "queued+` FOR UPDATE`",
	},
	{
		"a message of an older dispatch is run", "jobs/engine/claim.go",
		`	case dispatch < p.Dispatch:
		return DecisionStale`, `	case dispatch < p.Dispatch && p.State != jobs.Queued:
		return DecisionStale`,
	},
	{
		"a second delivery does not join the run of this process", "jobs/engine/worker_claim.go",
		`	if active == nil {
		return 0, false`, `	if true {
		return 0, false`,
	},
	{
		"a snoozed run counts as an attempt", "store/engine_endruns.go",
		`interval '1 second', attempt = attempt - 1,`, `interval '1 second',`,
	},
	{
		"a run that called CompleteTx is taken for committed", "jobs/engine/worker_end.go",
		`			if yes {`, `			if yes || true {`,
	},
	{
		"runs are given back with the claims that were not answered", "jobs/engine/worker_lease.go",
		`slices.DeleteFunc(held, w.runs.has)`, `slices.Clip(held)`,
	},
	{
		"a dead letter of a running job is dispatched", "store/engine_due.go",
		"state ` + rules.From(jobs.EngineRedispatch)", "state IN ('queued', 'running')`",
	},
	{
		"lost messages are not looked for", "jobs/engine/reconciler.go",
		`	lost := Lost{Queue: q.Queue}`, `	return Lost{}
	lost := Lost{Queue: q.Queue}`,
	},
}
