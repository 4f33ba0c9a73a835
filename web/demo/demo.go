// Package demo simulates a shop on a running deployment: jobs of its own kinds, tasks, killed
// workers. It is to look at, not to copy: applications start from examples.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/child"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
)

// WorkerCommand is the hidden command that each worker of the demo runs.
const WorkerCommand = "demo-worker"

// Options describe the deployment that a demo runs on.
type Options struct {
	Store  *store.Store
	Broker *rabbit.Broker
	// Env is added to the environment of its workers, which are child processes: the URLs of the servers.
	Env []string
	Out io.Writer // gets a line for each thing that happens
}

// Run simulates the shop on a running deployment until ctx ends. Its workers end with it.
func Run(ctx context.Context, o Options) error {
	logs, err := os.MkdirTemp("", "warren-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the logs of the workers: %w", err)
	}
	defer func() { _ = os.RemoveAll(logs) }()
	d := &demo{Options: o, logs: logs, started: time.Now(), children: map[string]*child.Process{}}
	if err := d.writeSchedules(ctx); err != nil {
		return err
	}
	if err := d.writeTasks(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var loops sync.WaitGroup
	for _, w := range workers {
		loops.Go(func() {
			if err := d.keep(ctx, w); err != nil {
				stop(err)
			}
		})
	}
	for _, a := range acts {
		loops.Go(func() { d.repeat(ctx, a) })
	}
	loops.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Remove deletes the demo's jobs and queues, and returns the number of deleted jobs.
func Remove(ctx context.Context, s *store.Store, broker *rabbit.Broker, by jobs.Actor) (int64, error) {
	workers, err := s.DemoWorkers(ctx, Queues)
	if err != nil {
		return 0, err
	}
	if workers > 0 {
		return 0, errors.New("a demo runs: stop it first")
	}
	n, err := s.RemoveDemo(ctx, Queues, by)
	if err != nil {
		return n, err
	}
	for range 5 { // a broker that has just started refuses for a moment
		if err = broker.DeleteJobQueues(ctx, Queues...); err == nil || !wait(ctx, time.Second) {
			break
		}
	}
	return n, err
}

// demo is one running demo. Its jobs are marked by their origin and a tag.
type demo struct {
	Options
	logs    string
	started time.Time

	mu        sync.Mutex
	submitted int
	children  map[string]*child.Process
}

func (d *demo) log(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := time.Since(d.started).Round(time.Second)
	_, _ = fmt.Fprintf(d.Out, "%02d:%02d  %s\n", int(t.Minutes()), int(t.Seconds())%60, fmt.Sprintf(format, args...))
}

// worker is a process that works queues of the demo. If away is set, the worker stops for that long
// now and then: its queues then have no consumer.
type worker struct {
	name        string
	queues      []string
	concurrency int
	away        time.Duration
}

var workers = []worker{
	{name: "shop-1", queues: []string{QueueBilling, QueueMedia}, concurrency: 5},
	{name: "shop-2", queues: []string{QueueBilling, QueueMedia}, concurrency: 5},
	{name: "mail", queues: []string{QueueMail}, concurrency: 4, away: 25 * time.Second},
	{name: "stock", queues: []string{QueueStock}, concurrency: 1}, // slow: one job at a time, and the next ones wait
	{name: "reports", queues: []string{QueueReports}, concurrency: 2},
}

// keep runs the worker until ctx ends, and restarts it when it was killed.
func (d *demo) keep(ctx context.Context, w worker) error {
	for {
		p, err := d.start(w)
		if err != nil {
			return err
		}
		began := time.Now()
		var home <-chan time.Time
		if w.away > 0 {
			home = time.After(time.Duration(60+rand.IntN(30)) * time.Second)
		}
		select {
		case <-ctx.Done():
			stopWorker(p)
			return nil
		case <-home:
			d.log("the worker of %s stops for %s: the queue has no consumer", strings.Join(w.queues, " and "), w.away)
			if stopWorker(p); !wait(ctx, w.away) {
				return nil
			}
			continue
		case <-p.Done():
		}
		if time.Since(began) < time.Second { // it could not even start
			return fmt.Errorf("a worker of the demo: %w", p.Ended())
		}
		d.log("worker %s (process %d) was killed: its jobs are delivered again, and a new one starts", w.name, p.Pid())
		if !wait(ctx, 2*time.Second) {
			return nil
		}
	}
}

func (d *demo) start(w worker) (*child.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program of the workers: %w", err)
	}
	n := strconv.Itoa(w.concurrency)
	p, err := child.Start(child.Spec{Path: self, Log: filepath.Join(d.logs, w.name+".log"),
		Args: []string{WorkerCommand, "--queue", strings.Join(w.queues, ","), "--concurrency", n, "--prefetch", n},
		Env:  slices.Concat(os.Environ(), d.Env, []string{"WARREN_NAME=" + w.name}),
	})
	if err != nil {
		return nil, fmt.Errorf("start a worker of the demo: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.children[w.name] = p
	return p, nil
}

// stopWorker stops a worker, and kills it if it does not stop in time: that loses nothing.
func stopWorker(p *child.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = p.Stop(ctx)
}

// wait waits for d and reports whether it was over before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// act is an event that recurs: first after a time, then about at its interval.
type act struct {
	first, every time.Duration
	steady       bool // also in the quiet part of each minute
	do           func(d *demo, ctx context.Context) error
}

// acts are the events of the shop. To add one, add a line.
var acts = []act{
	{0, 600 * time.Millisecond, false, (*demo).sell},
	{time.Second, 15 * time.Second, false, (*demo).upload},
	{2 * time.Second, 45 * time.Second, true, (*demo).mail},
	{3 * time.Second, 12 * time.Second, true, (*demo).count},
	{4 * time.Second, 8 * time.Second, true, (*demo).report},
	{5 * time.Second, 3 * time.Minute, true, (*demo).poison},
	{6 * time.Second, 30 * time.Second, true, (*demo).plan},
	{8 * time.Second, 2 * time.Minute, true, (*demo).publishForeign},
	{15 * time.Second, 25 * time.Second, true, (*demo).kill},
	{20 * time.Second, 25 * time.Second, true, (*demo).tidyUp},
	{10 * time.Second, 10 * time.Second, true, (*demo).logCounts},
}

func (d *demo) repeat(ctx context.Context, a act) {
	for next := a.first; wait(ctx, next); next = time.Duration(float64(a.every) * (0.7 + 0.6*rand.Float64())) {
		if quiet := int(time.Since(d.started).Seconds())%60 > 50; quiet && !a.steady {
			continue
		}
		if err := a.do(d, ctx); err != nil && ctx.Err() == nil {
			d.log("%v", err)
		}
	}
}

// submit adds jobs to a queue, in one transaction.
func (d *demo) submit(ctx context.Context, queue string, list ...jobs.NewJob) error {
	for i := range list {
		list[i].Queue, list[i].Origin = queue, store.DemoOrigin
		list[i].Tags = append([]string{"demo"}, list[i].Tags...)
	}
	if _, err := d.Store.Enqueue(ctx, list...); err != nil {
		return fmt.Errorf("submit %d jobs: %w", len(list), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.submitted += len(list)
	return nil
}

// sell charges one or more customers, and sometimes submits a job to the archive queue, which no
// worker consumes.
func (d *demo) sell(ctx context.Context) error {
	var list []jobs.NewJob
	for range 1 + rand.IntN(2) {
		list = append(list, jobs.New(invoice(), jobs.MaxAttempts(3), jobs.Tags(pick("web", "app", "store"))))
	}
	if rand.IntN(10) == 0 {
		if err := d.submit(ctx, QueueArchive, jobs.New(Report{Report: "receipts", Month: month()})); err != nil {
			return err
		}
	}
	return d.submit(ctx, QueueBilling, list...)
}

func invoice() Invoice {
	return Invoice{Invoice: fmt.Sprintf("INV-%d", 20000+rand.IntN(9000)), Customer: fmt.Sprintf("cus_%d", 1000+rand.IntN(9000)),
		Cents: 500 + rand.IntN(40000), Currency: pick("EUR", "EUR", "USD", "GBP")}
}

// upload submits many pictures at once, as one person uploads them.
func (d *demo) upload(ctx context.Context) error {
	list := make([]jobs.NewJob, 6+rand.IntN(20))
	for i := range list {
		list[i] = jobs.New(Thumbnail{Image: fmt.Sprintf("uploads/%04d.jpg", rand.IntN(10000)), Width: pick(160, 320, 640)},
			jobs.MaxAttempts(2))
	}
	return d.submit(ctx, QueueMedia, list...)
}

// mail sends a newsletter: a burst of small jobs.
func (d *demo) mail(ctx context.Context) error {
	list := make([]jobs.NewJob, 60+rand.IntN(60))
	issue := fmt.Sprintf("%s-%d", month(), 1+rand.IntN(4))
	for i := range list {
		to := fmt.Sprintf("%s.%s@%s", pick("ann", "bob", "chen", "dana", "eve", "fritz", "gita"), pick("lee", "smith", "novak", "rossi",
			"meyer", "ito"),
			pick("example.com", "example.org", "mail.example.net"))
		list[i] = jobs.New(Newsletter{Issue: issue, To: to}, jobs.MaxAttempts(3), jobs.Tags("issue-"+issue))
	}
	d.log("a newsletter to %d people", len(list))
	return d.submit(ctx, QueueMail, list...)
}

// count compares a warehouse with the shop; never two of one warehouse at a time.
func (d *demo) count(ctx context.Context) error {
	house := pick("north", "south", "harbour")
	return d.submit(ctx, QueueStock, jobs.New(SyncStock{Warehouse: house, Items: 150 + rand.IntN(400)},
		jobs.UniqueKey("demo-stock-"+house), jobs.Timeout(15*time.Second), jobs.MaxAttempts(2)))
}

func (d *demo) report(ctx context.Context) error {
	return d.submit(ctx, QueueReports, jobs.New(Report{Report: pick("sales", "returns", "tax", "visits"), Month: month()},
		jobs.MaxAttempts(3)))
}

// poison submits a job that kills its workers until it is dead.
func (d *demo) poison(ctx context.Context) error {
	d.log("a report that kills every worker which makes it: after three it is dead")
	return d.submit(ctx, QueueReports, jobs.New(Report{Report: Poison, Month: month()}))
}

// plan schedules a job for the next hours.
func (d *demo) plan(ctx context.Context) error {
	return d.submit(ctx, QueueBilling, jobs.New(invoice(), jobs.At(time.Now().Add(time.Duration(1+rand.IntN(180))*time.Minute)),
		jobs.Tags("subscription")))
}

// publishForeign publishes a message that is not a job: it becomes a dead job that keeps the
// message.
func (d *demo) publishForeign(ctx context.Context) error {
	d.log("a message of a program that knows nothing of jobs")
	body := fmt.Sprintf(`{"order": %d, "status": "shipped", "carrier": "post"}`, 700000+rand.IntN(90000))
	return d.Broker.Send(ctx, QueueBilling, store.DemoOrigin, "legacy.order-shipped", []byte(body))
}

// kill ends a worker as a power cut would.
func (d *demo) kill(context.Context) error {
	name := pick("shop-1", "shop-2")
	d.mu.Lock()
	p := d.children[name]
	d.mu.Unlock()
	if p == nil {
		return nil
	}
	victim, err := os.FindProcess(p.Pid())
	if err != nil {
		return err
	}
	if err := victim.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill worker %s: %w", name, err)
	}
	return nil
}

// logCounts logs how many jobs are in each state.
func (d *demo) logCounts(ctx context.Context) error {
	counts, err := Counts(ctx, d.Store)
	if err != nil {
		return err
	}
	d.mu.Lock()
	n := d.submitted
	d.mu.Unlock()
	d.log("%d jobs submitted · %s", n, counts)
	return nil
}

// Counts returns, in words, how many jobs of the demo's queues are in each state.
func Counts(ctx context.Context, s *store.Store) (string, error) {
	total := map[jobs.State]jobs.Count{}
	for _, q := range Queues {
		counts, err := s.Counts(ctx, jobs.Filter{Queue: q})
		if err != nil {
			return "", err
		}
		for state, n := range counts {
			total[state] += n
		}
	}
	var words []string
	for _, state := range jobs.States {
		if n := total[state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(words, ", "), nil
}

func pick[T any](choices ...T) T { return choices[rand.IntN(len(choices))] }

// month returns one of the last six months.
func month() string {
	return time.Now().AddDate(0, -rand.IntN(6), 1-time.Now().Day()).Format("2006-01")
}
