//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// customers is scenario 5: examples/customers as an app, two relays and a worker, which are killed one
// after the other while clients save customers. Each customer must get one mail.
func customers(ctx context.Context, w *world, f form) (count, error) {
	out, err := w.recipe(ctx, "docs/recipes/outbox.md")
	if err != nil {
		return count{}, err
	}
	if !strings.Contains(out, " 201 Created") {
		return count{}, fmt.Errorf("the recipe saved no customer: %s", out)
	}
	s := &shop{world: w, sent: 1}
	err = s.work(ctx, f)
	n, counted := s.count(ctx)
	return n, errors.Join(err, counted)
}

// shop is the application's processes, the app first, and how many customers were handed in.
type shop struct {
	*world
	processes []*process
	sent      int
	kills     atomic.Int64 // done so far
	saved     atomic.Int64
}

func (s *shop) work(ctx context.Context, f form) error {
	if err := s.deploy(ctx); err != nil {
		return err
	}
	if err := s.curl(ctx); err != nil {
		return err
	}
	s.log.Info("clients begin", "posts", f.posts, "kills", f.kills)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	group.Go(func() { cancelOn(cancel, s.post(ctx, f)) })
	group.Go(func() { cancelOn(cancel, s.killAll(ctx, f)) })
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.sent += f.posts
	s.log.Info("clients are done: the rest of the jobs")
	return s.drained(ctx)
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

var startedRoles = regexp.MustCompile("`(?:go run ./examples/customers|…) ([a-z ]+)`")

// deploy starts the processes that the README of the example names, and a second relay.
func (s *shop) deploy(ctx context.Context) error {
	readme, err := s.readme()
	if err != nil {
		return err
	}
	roles := startedRoles.FindAllStringSubmatch(readme, -1)
	if len(roles) != 3 {
		return fmt.Errorf("the README names %d kinds of processes and not 3", len(roles))
	}
	for i, r := range append(roles, []string{"", "relay"}) {
		p, err := s.start(append([]string{"customers"}, strings.Fields(r[1])...)...)
		if err != nil {
			return err
		}
		s.processes = append(s.processes, p)
		if i > 0 {
			continue
		}
		if err := s.answers(ctx); err != nil { // the app has made the tables then
			return err
		}
	}
	return nil
}

func (s *shop) readme() (string, error) {
	text, err := os.ReadFile(filepath.Join(s.programs.root, "examples", "customers", "README.md"))
	if err != nil {
		return "", fmt.Errorf("read the README of the example: %w", err)
	}
	return string(text), nil
}

// answers waits until the app listens.
func (s *shop) answers(ctx context.Context) error {
	return until(ctx, "the app answers", func() (bool, error) {
		conn, err := net.DialTimeout("tcp", s.app, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil, nil
	})
}

// curl runs the curl of the README, which saves one customer.
func (s *shop) curl(ctx context.Context) error {
	script, err := s.commands("examples/customers/README.md")
	if err != nil {
		return err
	}
	at := strings.Index(script, "curl ")
	if at < 0 {
		return errors.New("the README has no curl")
	}
	// The recipe's customer has another address.
	out, err := s.shell(ctx, script[at:])
	if err != nil {
		return err
	}
	if !strings.Contains(out, " 201 Created") {
		return fmt.Errorf("the curl of the README saved no customer: %s", out)
	}
	s.sent++
	return nil
}

// clients is how many post at once.
const clients = 16

// post saves the customers. The clients are at most two parts ahead of the kills, so that every kill
// meets processes at work.
func (s *shop) post(ctx context.Context, f form) error {
	numbers := make(chan int)
	failed := make(chan error, clients)
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for n := range numbers {
				if err := s.save(ctx, n); err != nil {
					failed <- err
					return
				}
				s.saved.Add(1)
			}
		})
	}
	err := func() error {
		defer close(numbers)
		part := f.posts/(f.kills+1) + 1
		for n := range f.posts {
			if n%part == 0 {
				err := until(ctx, "the kills keep up", func() (bool, error) { return int(s.kills.Load()) >= n/part-1, nil })
				if err != nil {
					return err
				}
			}
			select {
			case numbers <- n:
			case err := <-failed:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}()
	group.Wait()
	select {
	case late := <-failed:
		return errors.Join(err, late)
	default:
		return err
	}
}

// save posts one customer until the app has it: a 409 says that an earlier try, whose answer was lost,
// has saved it.
func (s *shop) save(ctx context.Context, n int) error {
	body, err := json.Marshal(map[string]string{"email": fmt.Sprintf("customer-%d@example.org", n), "name": fmt.Sprintf("Customer %d", n)})
	if err != nil {
		return err
	}
	return until(ctx, "a customer is saved", func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.app+"/customers", strings.NewReader(string(body)))
		if err != nil {
			return false, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // the app was killed: tried again
		}
		defer func() { _ = resp.Body.Close() }()
		said, _ := io.ReadAll(resp.Body)
		switch {
		case resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusConflict:
			return true, nil
		case resp.StatusCode < http.StatusInternalServerError:
			return false, fmt.Errorf("%s: %s", resp.Status, said)
		}
		return false, nil
	})
}

// killAll kills a process after each part of the posts, in a random order in which each has its turn.
func (s *shop) killAll(ctx context.Context, f form) error {
	part := f.posts/(f.kills+1) + 1
	var order []int
	for i := range f.kills {
		if len(order) == 0 {
			order = rand.Perm(len(s.processes))
		}
		wait := part*i + 1 + rand.IntN(part-1)
		if err := until(ctx, "the next kill is due", func() (bool, error) { return int(s.saved.Load()) >= wait, nil }); err != nil {
			return err
		}
		if err := s.killOne(ctx, order[0]); err != nil {
			return err
		}
		order = order[1:]
		s.kills.Add(1)
	}
	return nil
}

// killOne kills a process that has started to work, and starts another in its place.
func (s *shop) killOne(ctx context.Context, i int) error {
	p := s.processes[i]
	err := until(ctx, p.name+" is at work", func() (bool, error) {
		select {
		case <-p.Done():
			return false, p.Ended()
		default:
		}
		n, err := s.number(ctx, `SELECT count(*) FROM warren.processes WHERE name = $1`, p.name)
		return n > 0, err
	})
	if err != nil {
		return err
	}
	waiting, err := s.number(ctx, open)
	if err != nil {
		return err
	}
	p.kill()
	s.log.Info("killed", "process", strings.Join(p.args, " "), "saved", s.saved.Load(), "open_jobs", waiting)
	s.processes[i], err = s.restart(p)
	return err
}

// count compares customers, jobs and mails in the database. seen is the number of customers with a
// mail.
func (s *shop) count(ctx context.Context) (count, error) {
	n := count{sent: s.sent}
	var err error
	if n.seen, err = s.number(ctx, `SELECT count(DISTINCT customer_id) FROM mails`); err != nil {
		return n, err
	}
	for _, check := range []struct{ what, query string }{
		{"customers", `SELECT count(DISTINCT email) FROM customers`},
		{"completed jobs", `SELECT count(*) FROM warren.jobs WHERE kind = 'customers.created' AND state = 'completed'`},
		{"jobs", `SELECT count(*) FROM warren.jobs WHERE kind = 'customers.created'`},
		{"customers with a job", `SELECT count(DISTINCT c.id) FROM customers c JOIN warren.jobs j ON (j.args ->> 'id')::bigint = c.id`},
		{"mails", `SELECT count(*) FROM mails`},
	} {
		got, err := s.number(ctx, check.query)
		if err != nil {
			return n, err
		}
		s.log.Info("counted", check.what, got)
		if got != n.sent {
			return n, fmt.Errorf("%d %s of %d customers", got, check.what, n.sent)
		}
	}
	crashed, err := s.number(ctx, `SELECT count(*) FROM warren.attempts WHERE outcome = 'crashed'`)
	s.log.Info("runs that a kill interrupted", "n", crashed)
	return n, err
}
