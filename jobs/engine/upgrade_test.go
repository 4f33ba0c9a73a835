package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// upgrade is the migration of a newer warren: it adds columns to every table, and a table of its own.
func (b *bundle) upgrade() {
	b.t.Helper()
	rows, err := b.db.Query(b.ctx, `SELECT tablename FROM pg_tables WHERE schemaname = 'warren' AND tablename <> 'migrations'`)
	require.NoError(b.t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	for _, table := range tables {
		b.exec(`ALTER TABLE warren.` + table + ` ADD COLUMN newer text, ADD COLUMN newest int NOT NULL DEFAULT 7`)
	}
	b.exec(`CREATE INDEX jobs_newer ON warren.jobs (newer) WHERE newer IS NOT NULL`)
	b.exec(`CREATE TABLE newer (id bigint PRIMARY KEY)`)
	b.exec(`INSERT INTO warren.migrations (version_id, is_applied) SELECT max(version_id) + 1, true FROM warren.migrations`)
}

func TestUpgrade_ASchemaOneVersionNewerServesTheEngineThatRunsAndOneThatStarts(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		if run.Attempt == 1 {
			return errors.Join(run.Output("first"), errors.New("again"))
		}
		return nil
	}
	b.relay()
	b.worker("old")
	b.scheduler()
	b.topology()
	b.everyWay()
	b.upgrade()
	b.everyWay()

	var err error
	b.store, err = store.Open(b.ctx, b.db.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(b.store.Close)
	require.NoError(t, b.store.Migrate(b.ctx), "upgrades roll")
	b.worker("also old")
	b.everyWay()
}

// everyWay takes jobs along every path of the engine: retried by the scheduler, scheduled,
// cancelled, retried and deleted by operators, and adopted from a foreign message.
func (b *bundle) everyWay() {
	b.t.Helper()
	by := jobs.Actor{Name: "test"}
	id := b.step()
	b.eventually(id, "retrying", in(jobs.Retrying))
	b.exec(`UPDATE warren.jobs SET run_at = now() WHERE id = $1`, id)
	b.ended(id, jobs.Completed)
	require.NoError(b.t, b.store.Retry(b.ctx, id, by))
	require.Len(b.t, b.ended(id, jobs.Completed).Attempts, 3)
	require.NoError(b.t, b.store.Delete(b.ctx, id, by))
	planned := b.step(jobs.At(time.Now().AddDate(1, 0, 0)))
	require.NoError(b.t, b.store.Cancel(b.ctx, planned, by))
	b.ended(planned, jobs.Cancelled)
	page, err := b.store.Jobs(b.ctx, jobs.Filter{State: jobs.Cancelled}, jobs.Cursor{}, 10)
	require.NoError(b.t, err)
	require.Equal(b.t, planned, page.Items[0].ID)
	done := `SELECT count(*) FROM warren.jobs WHERE origin = 'broker' AND state = 'completed'`
	before := b.number(done)
	b.publish("warren.jobs", "default", amqp.Publishing{Type: "dots", ContentType: "application/json", Body: []byte(`{"text":"x"}`),
		MessageId: uuid.NewString()})
	b.until(text("a foreign message is adopted and run"), func() bool { return b.number(done) == before+1 })
}
