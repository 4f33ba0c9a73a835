package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
)

// relayBench measures how fast an outbox is drained.
type relayBench struct {
	servers   *servers
	jobs      int
	watermill int
	rounds    int
	relays    int
	queueType string
	profile   string
	body      json.RawMessage
}

// drainer publishes n messages to a fresh queue without consumers.
type drainer struct {
	name string
	n    int
	fill func(ctx context.Context, g *fixture) error // off the clock
	run  func(ctx context.Context, g *fixture) error
}

// fixture is a fresh place with the harness's own connections to both servers.
type fixture struct {
	place
	n     int
	db    *pgxpool.Pool
	admin *amqp.Connection
	store *store.Store // only for Warren's relay
	queue string       // the broker's queue that must contain the messages in the end
}

// measured is the result of one round of one drainer.
type measured struct {
	took time.Duration
	used usage
}

// runRelay compares Warren's relay with a plain publisher, which reads no database, and with two other
// ways to forward an outbox.
func runRelay(ctx context.Context, args []string) error {
	b := &relayBench{}
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.IntVar(&b.jobs, "jobs", 50_000, "messages of a round")
	flags.IntVar(&b.watermill, "watermill", 3000,
		"messages of a round of Watermill's forwarder, which is slow: only its rate counts; 0 leaves it out")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds of each, interleaved, after a short one that is dropped")
	flags.IntVar(&b.relays, "relays", 1, "Warren's relays, side by side")
	flags.StringVar(&b.queueType, "queue", "quorum", "type of the queue of all but Warren: quorum or classic")
	flags.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of this process in the first round of ours to the file")
	size := flags.Int("args", 256, "bytes of a job's args")
	window := flags.String("window", "4000",
		"unconfirmed messages of the plain publisher; the first of several, with commas, is in the last line")
	only := flags.String("only", "", "measure only these, with commas: ours, raw, example, watermill")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b.body = argsOf(*size)
	windows, err := numbers(*window)
	if err != nil {
		return err
	}
	if b.servers, err = startServers(ctx); err != nil {
		return err
	}
	defer b.servers.Close()
	fmt.Printf("%d messages (Watermill %d) with args of %d bytes, %d relays, plain publisher with a window of %s on a %s queue\n",
		b.jobs, b.watermill, *size, b.relays, *window, b.queueType)
	return b.compare(ctx, b.drainers(windows, *only))
}

// numbers parses a list such as "500,1000".
func numbers(list string) ([]int, error) {
	var out []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers such as 500,1000", list)
		}
		out = append(out, n)
	}
	return out, nil
}

// argsOf returns a JSON object of that many bytes.
func argsOf(size int) json.RawMessage {
	return json.RawMessage(`{"data":"` + strings.Repeat("x", max(size-len(`{"data":""}`), 0)) + `"}`)
}

func (b *relayBench) drainers(windows []int, only string) []drainer {
	list := []drainer{{"ours", b.jobs, b.fillOutbox, b.relay}}
	for i, window := range windows {
		name := "raw"
		if i > 0 {
			name = fmt.Sprintf("raw-%d", window)
		}
		list = append(list, drainer{name, b.jobs, b.declare, func(ctx context.Context, g *fixture) error {
			return b.publish(ctx, g,
				window)
		}})
	}
	list = append(list, drainer{"example", b.jobs, b.fillExample, b.exampleLoop})
	if b.watermill > 0 {
		list = append(list, drainer{"watermill", b.watermill, b.fillForwarder, b.forward})
	}
	return slices.DeleteFunc(list, func(d drainer) bool {
		name, _, _ := strings.Cut(d.name, "-")
		return only != "" && !slices.Contains(strings.Split(only, ","), name)
	})
}

// compare runs a short first round of each drainer, which is dropped, and then lets them take turns.
func (b *relayBench) compare(ctx context.Context, list []drainer) error {
	all := map[string][]measured{}
	for round := range b.rounds + 1 {
		for _, d := range list {
			if round == 0 {
				d.n = min(d.n, 5000)
			}
			m, err := b.measure(ctx, d, round == 1)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if round > 0 {
				all[d.name] = append(all[d.name], m)
			}
		}
	}
	rates := map[string]float64{}
	fmt.Printf("%-10s %-26s CPU s per 1000 messages and WAL bytes per message\n", "", "messages/s")
	for _, d := range list {
		rates[d.name] = printDrainer(d, all[d.name])
	}
	fmt.Println("raw: from memory, no database. example: a tick of the outbox example, without confirms and transient: it can lose " +
		"messages.")
	fmt.Printf("relay=%.0f raw=%.0f ratio=%.2f watermill=%.0f\n", rates["ours"], rates["raw"], rates["ours"]/rates["raw"],
		rates["watermill"])
	return nil
}

// printDrainer prints a line of medians and returns the rate.
func printDrainer(d drainer, rounds []measured) float64 {
	n := float64(d.n)
	per := func(what func(measured) float64) float64 {
		values := make([]float64, len(rounds))
		for i, m := range rounds {
			values[i] = what(m) / n
		}
		return median(values)
	}
	rates := make([]float64, len(rounds))
	for i, m := range rounds {
		rates[i] = n / m.took.Seconds()
	}
	fmt.Printf("%-10s %-26s app %.4f postgres %.4f broker %.4f sum %.4f  WAL %.0f\n", d.name, spread(rates, "%.0f"),
		1000*per(func(m measured) float64 { return m.used.app }), 1000*per(func(m measured) float64 { return m.used.postgres }),
		1000*per(func(m measured) float64 { return m.used.broker }), 1000*per(func(m measured) float64 { return m.used.total() }),
		per(func(m measured) float64 { return m.used.wal }))
	return median(rates)
}

// measure runs one drainer. The measured time includes connecting, for all drainers alike. It fails
// unless the broker has every message afterwards.
func (b *relayBench) measure(ctx context.Context, d drainer, profile bool) (m measured, err error) {
	g, err := b.newFixture(ctx, d)
	if err != nil {
		return m, err
	}
	defer g.close()
	// Before filling: after a checkpoint, each page is written in full when it is first changed, which
	// in production happens once in minutes.
	if _, err := g.db.Exec(ctx, `CHECKPOINT`); err != nil {
		return m, err
	}
	if err := d.fill(ctx, g); err != nil {
		return m, fmt.Errorf("fill: %w", err)
	}
	if _, err := g.db.Exec(ctx, `VACUUM ANALYZE`); err != nil {
		return m, err
	}
	before, err := b.servers.usage(ctx, g.db)
	if err != nil {
		return m, err
	}
	if profile && d.name == "ours" && b.profile != "" {
		stop, err := profileTo(b.profile)
		if err != nil {
			return m, err
		}
		defer stop()
	}
	began := time.Now()
	if err := d.run(ctx, g); err != nil {
		return m, err
	}
	m.took = time.Since(began)
	after, err := b.servers.usage(ctx, g.db)
	if err != nil {
		return m, err
	}
	m.used = after.since(before)
	return m, g.expect(d)
}

func profileTo(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, pprof.StartCPUProfile(f)
}

func (b *relayBench) newFixture(ctx context.Context, d drainer) (*fixture, error) {
	p, err := b.servers.newPlace(ctx)
	if err != nil {
		return nil, err
	}
	g := &fixture{place: p, n: d.n, queue: "bench"}
	if g.db, err = openPool(ctx, p.database, 4); err == nil {
		g.admin, err = amqp.Dial(p.amqp)
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *fixture) close() {
	if g.store != nil {
		g.store.Close()
	}
	if g.db != nil {
		g.db.Close()
	}
	if g.admin != nil {
		_ = g.admin.Close()
	}
	g.remove()
}

// expect checks that the broker has every message. The example publishes without confirms: messages
// that it lost are reported, but are not a failure of the benchmark.
func (g *fixture) expect(d drainer) error {
	ch, err := g.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	ready := 0
	for range 100 { // the count of a quorum queue lags
		q, err := ch.QueueDeclarePassive(g.queue, true, false, false, false, nil)
		if err != nil {
			return err
		}
		if ready = q.Messages; ready == g.n {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	if d.name == "example" {
		fmt.Printf("example    the queue has %d of %d messages\n", ready, g.n)
		return nil
	}
	return fmt.Errorf("the queue has %d of %d messages", ready, g.n)
}

func (b *relayBench) fillOutbox(ctx context.Context, g *fixture) (err error) {
	if g.store, err = store.Open(ctx, g.database); err != nil {
		return err
	}
	if err := g.store.Migrate(ctx); err != nil {
		return err
	}
	for from := 0; from < g.n; from += fillStep {
		list := make([]jobs.NewJob, min(fillStep, g.n-from))
		for i := range list {
			list[i] = jobs.NewJob{Kind: "bench.noop", Queue: g.queue, Args: b.body}
		}
		if _, err := g.store.Enqueue(ctx, list...); err != nil {
			return err
		}
	}
	return nil
}

// relay runs Warren's relays, wired as in the program, until the outbox is empty.
func (b *relayBench) relay(ctx context.Context, g *fixture) error {
	broker := &rabbit.Broker{URL: g.amqp, Names: rabbit.Names{Prefix: "warren"}, Process: "bench", Log: quietLog()}
	var err error
	if broker.Deployment, err = g.store.DeploymentID(ctx); err != nil {
		return err
	}
	g.queue = broker.Names.Queue(g.queue)
	ctx, stop := context.WithCancel(ctx)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer stop()
	announcer := g.store.NewAnnouncer()
	loops.Go(func() { _ = announcer.Run(ctx) })
	var moved atomic.Int64
	all := make(chan struct{}, 1)
	announce := func(topic string, ids ...string) {
		announcer.Announce(topic, ids...)
		if topic == engine.TopicJobs && moved.Add(int64(len(ids))) >= int64(g.n) {
			select {
			case all <- struct{}{}:
			default:
			}
		}
	}
	for range b.relays {
		relay := &engine.Relay{Outbox: g.store, Publisher: broker.NewPublisher(), Announce: announce,
			ReportHealth: func(context.Context, string, string) {}, Log: quietLog()}
		loops.Go(func() { _ = relay.Run(ctx) })
	}
	return g.untilEmpty(ctx, all)
}

// untilEmpty queries the outbox once all its rows have been announced as sent, and only rarely before,
// because the query costs something.
func (g *fixture) untilEmpty(ctx context.Context, all <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		select {
		case <-all:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for an empty outbox: %w", ctx.Err())
		}
		var left int
		err := g.db.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM warren.outbox ORDER BY id DESC LIMIT 1) x`).Scan(&left)
		if err != nil || left == 0 {
			return err
		}
	}
}

// fillStep is the number of jobs that one statement adds, off the clock.
const fillStep = 5000

// benchExchange routes to the queues of all drainers but Warren's, as Warren's jobs exchange does.
const benchExchange = "bench.jobs"

func (b *relayBench) declare(_ context.Context, g *fixture) error {
	ch, err := g.admin.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }()
	if _, err := ch.QueueDeclare(g.queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: b.queueType}); err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(benchExchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return err
	}
	return ch.QueueBind(g.queue, g.queue, benchExchange, false, nil)
}

// publish is a plain amqp091-go publisher that keeps up to window messages unconfirmed, with the same
// routing, properties and body as Warren's relay.
func (b *relayBench) publish(ctx context.Context, g *fixture, window int) error {
	conn, err := amqp.Dial(g.amqp)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returned := ch.NotifyReturn(make(chan amqp.Return, window))
	flying := make([]*amqp.DeferredConfirmation, window)
	for i := range g.n + window { // the last window iterations only wait
		if err := confirmed(ctx, flying[i%window]); err != nil {
			return err
		}
		flying[i%window] = nil
		if i >= g.n {
			continue
		}
		if flying[i%window], err = ch.PublishWithDeferredConfirm(benchExchange, g.queue, true, false, b.message()); err != nil {
			return err
		}
	}
	if len(returned) > 0 {
		return fmt.Errorf("the broker returned %d messages", len(returned))
	}
	return nil
}

func confirmed(ctx context.Context, c *amqp.DeferredConfirmation) error {
	if c == nil {
		return nil
	}
	acked, err := c.WaitContext(ctx)
	if err == nil && !acked {
		err = errors.New("the broker refused a message")
	}
	return err
}

// message returns a message with the properties of a job message.
func (b *relayBench) message() amqp.Publishing {
	id, now := uuid.NewString(), time.Now()
	return amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: now, MessageId: id,
		Type: "bench.noop", AppId: id, CorrelationId: id + ".1", Body: b.body,
		Headers: amqp.Table{"warren-job": id, "warren-dispatch": int64(1), "warren-sent": now.UnixMilli()},
	}
}
