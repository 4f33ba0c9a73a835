package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
)

// subscriber runs a worker with a subscriber that handles only tasks which are done, until stop is
// called. It returns once the subscriber is bound.
func (d *deployment) subscriber(name, exchange, pattern string, options ...jobs.Option) (stop func()) {
	d.t.Helper()
	mux := events.NewMux()
	mux.Handle(pattern, func(_ context.Context, e *events.Delivery) error {
		var task struct{ Done bool }
		if err := e.Decode(&task); err != nil || task.Done {
			return err
		}
		return errors.New("the index is away: connect to 127.0.0.1:9200: connection refused")
	})
	c, err := warren.Open(warren.Config{DatabaseURL: d.database, BrokerURL: d.vhost.URL, Roles: []warren.Role{warren.RoleWorker},
		Queues: warren.Queues{name: {}}, Subscribers: []*events.Subscriber{events.Subscribe(name, exchange, mux, options...)}})
	require.NoError(d.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.ctx))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(d.t, <-done)
		c.Close()
	})
	d.t.Cleanup(stop)
	d.until("the subscriber consumes its queue", func() bool {
		queues, err := d.vhost.Management.Queues(d.ctx)
		for _, q := range queues {
			if err == nil && q.VHost == d.vhost.Name && q.Name == "warren.jobs."+name && q.Consumers != nil && *q.Consumers > 0 {
				return true
			}
		}
		return false
	})
	return stop
}

// received returns the id of an event whose job of the subscriber is in the state, once there is one.
func (d *deployment) received(subscriber string, state jobs.State) (id string) {
	d.t.Helper()
	d.until("an event of "+subscriber+" is "+string(state), func() bool {
		for _, e := range list[engine.Event](d, "events?subscriber="+subscriber) {
			for _, r := range e.Receipts {
				if r.State == state {
					id = e.ID.String()
				}
			}
		}
		return id != ""
	})
	return id
}

func TestReplay_GoesOnWhereItsKilledProcessHasCommitted(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	d.subscriber("search", "shop", "order.*")() // it is bound, and away
	const all = 3000
	d.sql(`INSERT INTO warren.events (id, exchange, routing_key, body) SELECT
		(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - i), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' ||
			substr(md5(i::text), 1, 15))::uuid, 'shop', 'order.packed', '{"done": true}' FROM generate_series(1, $1::int) i`, all)
	var replay jobs.Job
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/subscribers/search/replay", `{"since": "1h"}`, &replay))
	d.start("relay")
	killed := d.start("worker")
	conn, err := pgx.Connect(d.ctx, d.database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(d.ctx)
	require.NoError(t, err)
	added := 0
	d.until("a batch is committed and the next one waits for us", func() bool {
		rows, err := tx.Query(d.ctx, `SELECT added FROM warren.event_replays WHERE job_id = $1 AND added > 0 FOR UPDATE`, replay.ID)
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		for _, n := range list {
			added = n
		}
		return len(list) > 0
	})
	require.Less(t, added, all)
	killed.kill()
	require.NoError(t, tx.Rollback(d.ctx))
	d.start("worker")
	d.start("scheduler")
	detail := d.inState(replay.ID.String(), jobs.Completed)
	require.Equal(t, 2, detail.Lease, "another process has taken it over")
	require.NoError(t, conn.QueryRow(d.ctx, `SELECT count(*) FROM (SELECT event_id FROM warren.jobs WHERE kind = 'search'
		GROUP BY event_id HAVING count(*) = 1) once`).Scan(&added))
	require.Equal(t, all, added)
}
