package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren"
)

// site is a deployment with a number of jobs, and its dashboard.
type site struct {
	rows   int
	place  place
	pool   *pgxpool.Pool
	client *warren.Client
	pages  http.Handler
	dead   uuid.UUID // one of the jobs
	took   map[string][]float64
	end    context.CancelFunc
	ran    chan error // the result of the client's roles
}

// sitePages are the pages that are measured, the overview first.
var sitePages = []string{"/", "/jobs", "/jobs?state=completed", "/jobs?state=dead", "/jobs?state=scheduled", "/jobs?kind=bench.c",
	"/jobs?queue=q2", "/jobs?q=vendor", "/jobs?q=nothing", "/jobs/%s", "/tasks", "/tasks?sort=newest", "/tasks/board", "/schedules",
	"/queues", "/failures", "/failures?sort=count", "/outbox", "/events", "/events?key=order.*", "/events/subscribers",
	"/workers", "/audit"}

// runPages measures from a request to the whole answer, in the process, with the browser's page left out.
func runPages(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("pages", flag.ContinueOnError)
	rows := flags.String("rows", "10000,3000000", "jobs in the table; the ratios are of the last to the first")
	rounds := flags.Int("rounds", 15, "requests of each page, interleaved")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sizes, err := numbers(*rows)
	if err != nil {
		return err
	}
	if *rounds < 1 {
		return errors.New("--rounds must be at least 1")
	}
	servers, err := startServers(ctx)
	if err != nil {
		return err
	}
	defer servers.Close()
	var sites []*site
	defer func() {
		for _, s := range sites {
			s.close()
		}
	}()
	for _, n := range sizes {
		began := time.Now()
		s, err := openSite(ctx, servers, n)
		if err != nil {
			return fmt.Errorf("fill %d jobs: %w", n, err)
		}
		sites = append(sites, s)
		fmt.Printf("%d jobs, %d tasks and %d events are there after %s; no schedules, outbox rows or audit log\n", n, n/3, n/10,
			time.Since(began).Round(time.Second))
	}
	for round := range *rounds + 1 { // the first is dropped: it reads the tables into memory
		for _, page := range sitePages {
			for _, s := range sites {
				if err := s.visit(ctx, page, round > 0); err != nil {
					return err
				}
			}
		}
	}
	return report(sites)
}

// visit measures one request.
func (s *site) visit(ctx context.Context, page string, counts bool) error {
	path := page
	if page == "/jobs/%s" {
		path = fmt.Sprintf(page, s.dead)
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	w := httptest.NewRecorder()
	began := time.Now()
	s.pages.ServeHTTP(w, r)
	took := time.Since(began)
	select {
	case err := <-s.ran:
		return fmt.Errorf("the roles beside %d jobs ended: %w", s.rows, err)
	default:
	}
	if w.Code != http.StatusOK {
		return fmt.Errorf("%s with %d jobs: status %d: %.300s", path, s.rows, w.Code, w.Body)
	}
	if counts {
		s.took[page] = append(s.took[page], took.Seconds()*1000)
	}
	return nil
}

// report prints a line for each page, and last the overview and the slowest page of the largest site.
func report(sites []*site) error {
	first, last := sites[0], sites[len(sites)-1]
	fmt.Printf("ms to the whole answer, median (lowest-highest); %d and %d jobs\n", first.rows, last.rows)
	slowest := sitePages[0]
	for _, page := range sitePages {
		fmt.Printf("%-24s %s  %s  ratio %.2f\n", page, spread(first.took[page], "%.1f"), spread(last.took[page], "%.1f"),
			median(last.took[page])/median(first.took[page]))
		if median(last.took[page]) > median(last.took[slowest]) {
			slowest = page
		}
	}
	_, err := fmt.Printf("overview_ms=%.1f slowest=%s slowest_ms=%.1f\n", median(last.took[sitePages[0]]), slowest,
		median(last.took[slowest]))
	return err
}

func openSite(ctx context.Context, servers *servers, rows int) (s *site, err error) {
	s = &site{rows: rows, took: map[string][]float64{}}
	if s.place, err = servers.newPlace(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.pool, err = openPool(ctx, s.place.database, 2); err != nil {
		return nil, err
	}
	s.client, err = warren.Open(warren.Config{DatabaseURL: s.place.database, BrokerURL: s.place.amqp, ManagementURL: s.place.management,
		Roles: []warren.Role{warren.RoleWeb, warren.RoleRelay, warren.RoleMonitor}, Name: "bench", Log: quietLog()})
	if err != nil {
		return nil, err
	}
	if err := s.client.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	if s.pages, err = s.client.Dashboard(); err != nil {
		return nil, err
	}
	ctx, s.end = context.WithCancel(ctx)
	s.ran = make(chan error, 1)
	go func() { s.ran <- s.client.Run(ctx) }()
	return s, nil
}

// close ends what has been opened.
func (s *site) close() {
	if s.end != nil {
		s.end()
		<-s.ran
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	s.place.remove()
}

// siteSQL adds the jobs from $1 to $2 of $3, spread over a day that ended an hour ago: 3 % of them dead, of 20 causes, 1 %
// cancelled, 1 in 1000 scheduled for later, the others completed; and tasks and events among them.
var siteSQL = []string{`
INSERT INTO warren.jobs (id, kind, queue, args, state, attempt, max_attempts, run_at, created_at, dispatch, queued_at, sent_at, lease,
	worker_id, worker, started_at, finished_at, last_error)
SELECT ` + siteID + `, 'bench.' || chr(97 + (i % 8)::int), 'q' || i % 5,
	json_build_object('order', i, 'customer', 'cus_' || i % 997, 'note', repeat('x', 100)), state, ran, 5,
	CASE WHEN ran = 1 THEN at ELSE now() + i * interval '1 ms' + interval '1 day' END, at, ran,
	CASE WHEN ran = 1 THEN at END, CASE WHEN ran = 1 THEN at + interval '4 ms' END, ran,
	CASE WHEN ran = 1 THEN '0197a000-0000-7000-8000-000000000000'::uuid END, CASE WHEN ran = 1 THEN 'bench' END,
	CASE WHEN ran = 1 THEN at + interval '6 ms' END, CASE WHEN ran = 1 THEN at + interval '7 ms' END,
	CASE WHEN state = 'dead' THEN 'vendor ' || chr(97 + (i / 100 % 20)::int) || ' answered 503' END
FROM (SELECT *, CASE WHEN state = 'scheduled' THEN 0 ELSE 1 END AS ran FROM (SELECT *,
	CASE WHEN i % 1000 = 5 THEN 'scheduled' WHEN i % 100 < 3 THEN 'dead' WHEN i % 100 = 3 THEN 'cancelled' ELSE 'completed' END AS state
	FROM ` + siteTimes + `) x) x`, `
INSERT INTO warren.tasks (id, description, priority, due_at, done, done_at, created_at)
SELECT ` + siteID + `, 'Task ' || i, (ARRAY['none', 'low', 'medium', 'high'])[1 + i / 3 % 4],
	CASE WHEN i % 2 = 0 THEN at + interval '2 days' END, i % 5 = 0, CASE WHEN i % 5 = 0 THEN at END, at
FROM ` + siteTimes + ` WHERE i % 3 = 0`, `
INSERT INTO warren.events (id, exchange, routing_key, content_type, body, created_at)
SELECT ` + siteID + `, 'shop', (ARRAY['order.created', 'stock.low'])[1 + i / 10 % 2], 'application/json', json_build_object('n', i), at
FROM ` + siteTimes + ` WHERE i % 10 = 0`}

// siteTimes are the numbers of the rows with their times, and siteID an id that is in the order of time, as our own ids are.
const (
	siteTimes = `(SELECT i, md5(i::text) AS hash, now() - interval '25 hours' + i * (interval '1 day' / $3::float8) AS at
	FROM generate_series($1::bigint, $2::bigint) i) t`
	siteID = `(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8' ||
	substr(hash, 4, 15))::uuid`
)

func (s *site) fill(ctx context.Context) error {
	const chunk = 100_000
	for from := 0; from < s.rows; from += chunk {
		for _, sql := range siteSQL {
			if _, err := s.pool.Exec(ctx, sql, from+1, min(from+chunk, s.rows), s.rows); err != nil {
				return err
			}
		}
	}
	for _, sql := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		if _, err := s.pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return s.pool.QueryRow(ctx, `SELECT id FROM warren.jobs WHERE state = 'dead' ORDER BY id DESC LIMIT 1`).Scan(&s.dead)
}
