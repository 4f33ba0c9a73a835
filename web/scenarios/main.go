//go:build unix

// Command scenarios does the work of five known systems with Warren, with real processes on real
// servers, and counts what came of it. make scenarios runs all of them; with numbers as arguments it
// runs only those. The tests of this package run each in its short form.
//
// On stdout is one line for each scenario and nothing else; progress goes to stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// scenario is one system and the work that Warren does for it. Each has a file of its own.
type scenario struct {
	number int
	name   string
	run    func(context.Context, *world, form) (count, error)
}

var scenarios = []scenario{
	{1, "tasks service", tasksService},
	{2, "queues between languages", languages},
	{3, "work queue", workQueue},
	{4, "publish/subscribe", publishSubscribe},
	{5, "outbox", customers},
}

// form is how much work a scenario does.
type form struct {
	posts   int // requests of the outbox's clients
	kills   int // SIGKILLs of processes at work
	jobs    int // in each measurement of the work queue
	changes int // of tasks while their indexer is away
	ticks   int // of the schedule that publishes events
	each    int // jobs that each language submits and the other one works
	long    bool
}

var (
	longForm  = form{posts: 10_000, kills: 20, jobs: 20, changes: 500, ticks: 60, each: 100, long: true}
	shortForm = form{posts: 500, kills: 3, jobs: 6, changes: 60, ticks: 10, each: 20}
)

// count is the balance of a scenario: how much was handed in, and how many different pieces of it had
// their effect, counted in the database.
type count struct{ sent, seen int }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := runAll(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		os.Exit(1)
	}
}

func runAll(ctx context.Context, numbers []string) error {
	list, err := choose(numbers)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	host, err := openHost(ctx, log)
	if err != nil {
		return err
	}
	defer host.close()
	failed := false
	for _, s := range list {
		line, ok := s.report(ctx, host)
		fmt.Println(line)
		failed = failed || !ok
	}
	if failed {
		return errors.New("a scenario failed")
	}
	return nil
}

func choose(numbers []string) (list []scenario, err error) {
	for _, n := range numbers {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return strconv.Itoa(s.number) == n })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q", n)
		}
		list = append(list, scenarios[i])
	}
	if len(list) == 0 {
		list = scenarios
	}
	return list, nil
}

// report runs the scenario in a world of its own and returns its line.
func (s scenario) report(ctx context.Context, host *host) (line string, ok bool) {
	w, err := host.newWorld(ctx, s.number)
	if err != nil {
		return s.line(count{}, err), false
	}
	defer w.close()
	n, err := s.run(ctx, w, longForm)
	if err == nil {
		err = n.check()
	}
	return s.line(n, err), err == nil
}

func (s scenario) line(n count, err error) string {
	verdict := "ok"
	if err != nil {
		verdict = "failed: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return fmt.Sprintf("%d %s sent=%d seen=%d %s", s.number, s.name, n.sent, n.seen, verdict)
}

// check returns an error unless all that was sent was seen.
func (n count) check() error {
	if n.sent == 0 || n.sent != n.seen {
		return fmt.Errorf("%d of %d had their effect", n.seen, n.sent)
	}
	return nil
}
