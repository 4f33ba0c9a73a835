package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// relayOptions of one measurement.
type relayOptions struct {
	jobs      int
	watermill int // messages of the forwarder: it is slow, and only its rate counts
	args      int // bytes
	rounds    int
	windows   []int // of the plain publisher; the first is the one of the last line
	relays    int
	queue     string // of the plain publisher: quorum or classic
	only      string
	profile   string
}

// contender drains n messages into a fresh queue that nobody consumes.
type contender struct {
	name    string
	n       int
	prepare func(ctx context.Context, queue string) error
	drain   func(ctx context.Context, queue string) error // on the clock
}

// relayBench is one run of `relay`.
type relayBench struct {
	*rig
	relayOptions
	body []byte
}

// runRelay measures how fast Warren's relay drains its outbox, beside a plain
// publisher that has no database to read, and two other ways to forward.
func runRelay(ctx context.Context, args []string) error {
	o, err := relayFlags(args)
	if err != nil {
		return err
	}
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	b := &relayBench{rig: r, relayOptions: o, body: argsOf(o.args)}
	contenders := b.contenders()
	costs := map[string][]cost{}
	for round := range o.rounds {
		for _, c := range contenders {
			one, err := b.measure(ctx, c, fmt.Sprintf("r%d-%s", round, c.name))
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, c.name, err)
			}
			costs[c.name] = append(costs[c.name], one)
			fmt.Fprintf(os.Stderr, "round %d  %-12s %8.0f/s\n", round+1, c.name, rate(c.n, one))
		}
	}
	b.print(contenders, costs)
	return nil
}

func relayFlags(args []string) (o relayOptions, err error) {
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.IntVar(&o.jobs, "jobs", 50_000, "messages of a round")
	flags.IntVar(&o.watermill, "watermill", 3_000, "messages of a round of Watermill's forwarder; 0 leaves it out")
	flags.IntVar(&o.args, "args", 256, "bytes of a job's args")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	windows := flags.String("window", "500", "unconfirmed messages of the plain publisher; several, with commas, to compare")
	flags.IntVar(&o.relays, "relays", 1, "Warren's relays side by side")
	flags.StringVar(&o.queue, "queue", "quorum", "type of the plain publisher's queue: quorum or classic")
	flags.StringVar(&o.only, "only", "", "only these, with commas: ours, raw, example, watermill")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of this process during the first round of ours to this file")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, s := range strings.Split(*windows, ",") {
		var n int
		if _, err := fmt.Sscan(s, &n); err != nil || n < 1 {
			return o, fmt.Errorf("--window: %q is no number of messages", s)
		}
		o.windows = append(o.windows, n)
	}
	return o, nil
}

func (b *relayBench) contenders() []contender {
	list := []contender{{"ours", b.jobs, b.fillOutbox, b.relay}}
	for i, window := range b.windows {
		name := "raw"
		if i > 0 {
			name = fmt.Sprintf("raw-%d", window)
		}
		list = append(list, contender{name, b.jobs, b.declareRaw, func(ctx context.Context, queue string) error {
			return b.publishRaw(ctx, queue, window)
		}})
	}
	list = append(list, contender{"example", b.jobs, b.fillExample, b.exampleLoop})
	if b.watermill > 0 {
		list = append(list, contender{"watermill", b.watermill, b.fillForwarder, b.forward})
	}
	return slices.DeleteFunc(list, func(c contender) bool {
		kind, _, _ := strings.Cut(c.name, "-")
		return b.only != "" && !slices.Contains(strings.Split(b.only, ","), kind)
	})
}

// measure gives each the same start: no log to write back, no dead rows, an
// empty queue. It fails unless every message is in the queue afterwards.
func (b *relayBench) measure(ctx context.Context, c contender, queue string) (cost, error) {
	if err := c.prepare(ctx, queue); err != nil {
		return cost{}, fmt.Errorf("prepare: %w", err)
	}
	if err := b.exec(ctx, `VACUUM ANALYZE`, `CHECKPOINT`); err != nil {
		return cost{}, err
	}
	if b.profile != "" && c.name == "ours" {
		f, err := os.Create(b.profile)
		if err != nil {
			return cost{}, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return cost{}, err
		}
		defer pprof.StopCPUProfile()
		b.profile = ""
	}
	before, err := b.read(ctx)
	if err != nil {
		return cost{}, err
	}
	if err := c.drain(ctx, queue); err != nil {
		return cost{}, err
	}
	after, err := b.read(ctx)
	if err != nil {
		return cost{}, err
	}
	return before.until(after), b.expect(queue, c)
}

// expect checks that the broker has them all, and removes the queue. The
// example's loop asks for no confirms: what it lost is only told.
func (b *relayBench) expect(queue string, c contender) error {
	ch, err := b.admin.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	name := b.queueOf(c, queue)
	var ready int
	for range 100 { // the count of a quorum queue comes a moment later
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		if err != nil {
			return err
		}
		if ready = q.Messages; ready >= c.n {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := ch.QueueDelete(name, false, false, false); err != nil {
		return err
	}
	if ready == c.n {
		return nil
	}
	if c.name == "example" {
		fmt.Fprintf(os.Stderr, "example: %d of %d messages are in the queue\n", ready, c.n)
		return nil
	}
	return fmt.Errorf("%d of %d messages are in the queue", ready, c.n)
}

func (b *relayBench) queueOf(c contender, queue string) string {
	if c.name == "ours" {
		return b.broker.Names.Queue(queue)
	}
	return queue
}

// argsOf is a JSON object of n bytes.
func argsOf(n int) json.RawMessage {
	return json.RawMessage(`{"data":"` + strings.Repeat("x", max(n-11, 0)) + `"}`)
}

func (b *relayBench) fillOutbox(ctx context.Context, queue string) error {
	if err := b.exec(ctx, `TRUNCATE jobs, outbox`); err != nil {
		return err
	}
	const chunk = 5000
	for from := 0; from < b.jobs; from += chunk {
		list := make([]jobs.NewJob, min(chunk, b.jobs-from))
		for i := range list {
			list[i] = jobs.NewJob{Kind: "bench.noop", Queue: queue, Args: b.body}
		}
		if _, err := b.store.Enqueue(ctx, list...); err != nil {
			return err
		}
	}
	return nil
}

// relay runs Warren's relays, wired as a process wires them, until the outbox is empty.
func (b *relayBench) relay(ctx context.Context, _ string) error {
	ctx, stop := context.WithCancel(ctx)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer stop()
	announcer := b.store.NewAnnouncer()
	loops.Go(func() { _ = announcer.Run(ctx) })
	var moved atomic.Int64
	all := make(chan struct{}, 1)
	announce := func(topic string, ids ...string) {
		announcer.Announce(topic, ids...)
		if topic == jobs.TopicJobs && moved.Add(int64(len(ids))) >= int64(b.jobs) {
			select {
			case all <- struct{}{}:
			default:
			}
		}
	}
	for range b.relays {
		relay := &jobs.Relay{Outbox: b.store, Publisher: b.broker.NewPublisher(), Announce: announce,
			Health: func(context.Context, string, string) {}, Log: slog.Default()}
		loops.Go(func() { _ = relay.Run(ctx) })
	}
	return b.untilEmpty(ctx, all)
}

// untilEmpty looks when all were told of as moved, and seldom before: a look costs something.
func (b *relayBench) untilEmpty(ctx context.Context, all <-chan struct{}) error {
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case <-all:
		case <-time.After(250 * time.Millisecond):
		case <-deadline:
			return errors.New("the outbox is not empty after 2 minutes")
		case <-ctx.Done():
			return ctx.Err()
		}
		var rows int
		err := b.db.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM outbox ORDER BY id DESC LIMIT 1) x`).Scan(&rows)
		if err != nil || rows == 0 {
			return err
		}
	}
}

func (b *relayBench) declareRaw(ctx context.Context, queue string) error {
	ch, err := b.admin.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	return declareQueue(ch, queue, b.queue)
}

func declareQueue(ch *amqp.Channel, queue, kind string) error {
	const exchange = "bench.jobs"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return err
	}
	return ch.QueueBind(queue, queue, exchange, false, nil)
}

// publishRaw is a plain amqp091-go publisher that keeps window messages
// unconfirmed: the same route, properties and body as ours, from memory.
func (b *relayBench) publishRaw(ctx context.Context, queue string, window int) error {
	conn, err := amqp.Dial(b.broker.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returned := ch.NotifyReturn(make(chan amqp.Return, window))
	flying := make([]*amqp.DeferredConfirmation, window)
	for i := range b.jobs {
		if err := confirmed(ctx, flying[i%window]); err != nil {
			return err
		}
		flying[i%window], err = ch.PublishWithDeferredConfirm("bench.jobs", queue, true, false, b.publishing())
		if err != nil {
			return err
		}
	}
	for _, c := range flying {
		if err := confirmed(ctx, c); err != nil {
			return err
		}
	}
	if len(returned) > 0 {
		return fmt.Errorf("%d messages were returned", len(returned))
	}
	return nil
}

func confirmed(ctx context.Context, c *amqp.DeferredConfirmation) error {
	if c == nil {
		return nil
	}
	ok, err := c.WaitContext(ctx)
	if err == nil && !ok {
		err = errors.New("the broker refused a message")
	}
	return err
}

// publishing has the properties of a job message (design.md §4).
func (b *relayBench) publishing() amqp.Publishing {
	id, now := uuid.NewString(), time.Now()
	return amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: now, MessageId: id,
		Type: "bench.noop", AppId: b.broker.Deployment, CorrelationId: id + ".1", Body: b.body,
		Headers: amqp.Table{"warren-job": id, "warren-dispatch": int64(1), "warren-sent": now.UnixMilli()},
	}
}

func rate(n int, c cost) float64 { return float64(n) / c.took.Seconds() }

// print writes the table, and last the line for machines.
func (b *relayBench) print(list []contender, costs map[string][]cost) {
	fmt.Printf("%d messages (watermill %d), args of %d bytes, %d rounds, %d relays, window %v, %s queue\n",
		b.jobs, b.watermill, b.args, b.rounds, b.relays, b.windows, b.queue)
	fmt.Printf("%-12s %9s %19s %8s %8s %8s %8s %10s\n", "", "median/s", "min - max", "app", "postgres", "broker", "sum", "WAL B/msg")
	medians := map[string]float64{}
	for _, c := range list {
		per := func(f func(cost) float64) float64 { return medianOf(costs[c.name], f) / float64(c.n) }
		perThousand := func(f func(cost) time.Duration) float64 {
			return 1000 * per(func(x cost) float64 { return f(x).Seconds() })
		}
		rates := make([]float64, 0, b.rounds)
		for _, x := range costs[c.name] {
			rates = append(rates, rate(c.n, x))
		}
		medians[c.name] = median(rates)
		fmt.Printf("%-12s %9.0f %9.0f - %7.0f %8.3f %8.3f %8.3f %8.3f %10.0f\n", c.name, median(rates), slices.Min(rates), slices.Max(rates),
			perThousand(func(x cost) time.Duration { return x.app }), perThousand(func(x cost) time.Duration { return x.postgres }),
			perThousand(func(x cost) time.Duration { return x.broker }), perThousand(cost.cpu), per(func(x cost) float64 { return float64(x.wal) }))
	}
	fmt.Println("CPU seconds per 1,000 messages. raw reads no database. example: the loop of the outbox example, without confirms or persistence: it can lose messages.")
	fmt.Printf("relay=%.0f raw=%.0f ratio=%.2f watermill=%.0f\n", medians["ours"], medians["raw"], ratio(medians["ours"], medians["raw"]), medians["watermill"])
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

func medianOf(list []cost, f func(cost) float64) float64 {
	values := make([]float64, len(list))
	for i, c := range list {
		values[i] = f(c)
	}
	return median(values)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
