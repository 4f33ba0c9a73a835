//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// tasksService is scenario 1: a service of tasks whose events keep a search index, while the indexer is
// away, and events come twice and in the wrong order. Each task must be in the index as it is in the table.
func tasksService(ctx context.Context, w *world, f form) (count, error) {
	out, err := w.recipe(ctx, "docs/recipes/tasks-service.md")
	if err != nil {
		return count{}, err
	}
	if !strings.Contains(out, "Write the report") {
		return count{}, fmt.Errorf("the recipe's search found nothing: %s", out)
	}
	for _, role := range []string{"web", "scheduler", "monitor"} {
		if _, err := w.start("warren", role); err != nil {
			return count{}, err
		}
	}
	s := &tasksScenario{world: w}
	if err := s.indexerAway(ctx, f.changes); err != nil {
		return count{}, err
	}
	if err := s.peers(ctx); err != nil {
		return count{}, err
	}
	return s.count(ctx)
}

type tasksScenario struct {
	*world
	sent int // changes
}

// indexerAway changes tasks while neither the relay nor a worker runs. Then the last half of the events is
// published by hand, the newest first, so that updates come before creations; and then the relay publishes
// all of them, so that these come twice.
func (s *tasksScenario) indexerAway(ctx context.Context, changes int) error {
	if err := s.change(ctx, changes); err != nil {
		return err
	}
	if err := s.publishBackwards(ctx, changes/2); err != nil {
		return err
	}
	if _, err := s.start("warren", "relay"); err != nil {
		return err
	}
	err := until(ctx, "the outbox is empty", func() (bool, error) {
		n, err := s.number(ctx, `SELECT count(*) FROM warren.outbox`)
		return n == 0, err
	})
	if err != nil {
		return err
	}
	if state, err := s.index(ctx); err != nil || state.Behind == 0 {
		return errors.Join(err, fmt.Errorf("the index says that it is %d changes behind while the indexer is away", state.Behind))
	}
	if err := s.says(ctx, "/tasks?q=number", "The search index is ", " behind."); err != nil {
		return err
	}
	s.log.Info("the indexer is back")
	if _, err := s.start("warren", "worker"); err != nil {
		return err
	}
	err = until(ctx, "the index has everything", func() (bool, error) {
		state, err := s.index(ctx)
		return state.Kept && state.Behind == 0, err
	})
	if err != nil {
		return err
	}
	return s.drained(ctx)
}

func (s *tasksScenario) index(ctx context.Context) (state tasks.IndexState, err error) {
	return state, s.api(ctx, "tasks/index", &state)
}

// change makes that many changes over the API: of five, three create a task, one edits and one deletes one.
func (s *tasksScenario) change(ctx context.Context, changes int) error {
	s.log.Info("tasks change while the indexer is away", "changes", changes)
	var edited, deleted tasks.Task
	for i := range changes {
		var made tasks.Task
		body := map[string]any{"description": fmt.Sprintf("Task number%d", i)}
		var err error
		switch i % 5 {
		case 3:
			body["version"], body["description"] = edited.Version, fmt.Sprintf("Edited number%d", i)
			err = s.send(ctx, http.MethodPut, "tasks/"+edited.ID.String(), body, &made)
		case 4:
			err = s.send(ctx, http.MethodDelete, "tasks/"+deleted.ID.String(), nil, nil)
		default:
			err = s.send(ctx, http.MethodPost, "tasks", body, &made)
			edited, deleted = made, edited
		}
		if err != nil {
			return err
		}
		s.sent++
	}
	return nil
}

// send calls the API. It waits for the dashboard first.
func (s *tasksScenario) send(ctx context.Context, method, path string, body, v any) error {
	if s.sent == 0 {
		if _, err := s.get(ctx, "/api/v1/tasks"); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.dashboard+"/api/v1/"+path, strings.NewReader(string(raw)))
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s: %w", method, path, resp.Status, answer, err)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// publishBackwards publishes the newest events of tasks, newest first, as the relay will.
func (s *tasksScenario) publishBackwards(ctx context.Context, n int) error {
	conn, err := amqp.Dial(s.urls.broker)
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	rows, err := s.db.QueryContext(ctx, `
		SELECT e.id::text, e.routing_key, e.body::text, d.id::text FROM warren.events e, warren.deployment d
		WHERE e.exchange = 'tasks' ORDER BY e.id DESC LIMIT $1`, n)
	if err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, key, body, app string
		if err := rows.Scan(&id, &key, &body, &app); err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
		err := channel.PublishWithContext(ctx, tasks.Exchange, key, false, false, amqp.Publishing{MessageId: id, AppId: app, Type: key,
			ContentType: events.TypeJSON, DeliveryMode: amqp.Persistent, Body: []byte(body)})
		if err != nil {
			return fmt.Errorf("publish by hand: %w", err)
		}
	}
	return rows.Err() //nolint:wrapcheck // of the query above
}

// Subscribers beside the index.
const (
	subscriberFlaky  = "flaky"  // fails three times
	subscriberBroken = "broken" // fails until it is mended
	subscriberPeer   = "peer"   // reads JSON and gob
)

// peers gives one event to other subscribers: one whose handler fails three times, one that is dead until
// it is mended and retried from the page, and one that also reads gob.
func (s *tasksScenario) peers(ctx context.Context) error {
	var mended atomic.Bool
	var failed, peered atomic.Int32
	flaky, broken, peer := events.NewMux(), events.NewMux(), events.NewMux()
	flaky.Handle(tasks.EventCreated, func(context.Context, *events.Delivery) error {
		if n := failed.Add(1); n <= 3 {
			return fmt.Errorf("failure %d of 3", n)
		}
		return nil
	})
	broken.Handle(tasks.EventCreated, func(context.Context, *events.Delivery) error {
		if !mended.Load() {
			return errors.New("not mended yet")
		}
		return nil
	})
	events.On(peer, tasks.EventAny, func(_ context.Context, _ *events.Delivery, t tasks.Indexed) error {
		if t.Description != "For the peers" {
			return jobs.Permanent(fmt.Errorf("the description is %q", t.Description))
		}
		peered.Add(1)
		return nil
	})
	client, err := warren.Open(warren.Config{DatabaseURL: s.urls.database, BrokerURL: s.urls.broker, Log: s.log,
		Roles: []warren.Role{warren.RoleWorker}, Queues: warren.Queues{subscriberFlaky: {}}, Subscribers: []*events.Subscriber{
			events.Subscribe(subscriberFlaky, tasks.Exchange, flaky),
			events.Subscribe(subscriberBroken, tasks.Exchange, broken, jobs.MaxAttempts(1)),
			events.Subscribe(subscriberPeer, tasks.Exchange, peer)}})
	if err != nil {
		return fmt.Errorf("open the peers: %w", err)
	}
	defer client.Close()
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(run) }()
	err = s.askPeers(ctx, client, &mended, &peered)
	stop()
	return errors.Join(err, <-ended)
}

func (s *tasksScenario) askPeers(ctx context.Context, client *warren.Client, mended *atomic.Bool, peered *atomic.Int32) error {
	if err := s.bound(ctx, subscriberFlaky, subscriberBroken, subscriberPeer); err != nil {
		return err
	}
	var task tasks.Task
	if err := s.send(ctx, http.MethodPost, "tasks", map[string]any{"description": "For the peers"}, &task); err != nil {
		return err
	}
	s.sent++
	if err := client.Publish(ctx, events.Gob(tasks.Exchange, tasks.EventUpdated,
		tasks.Indexed{ID: task.ID, Version: task.Version, Description: task.Description})); err != nil {
		return fmt.Errorf("publish gob: %w", err)
	}
	for range 3 { // its backoff would take two minutes
		if err := s.runNow(ctx, subscriberFlaky); err != nil {
			return err
		}
	}
	flaky, err := s.jobOf(ctx, subscriberFlaky, jobs.Completed)
	if err != nil {
		return err
	}
	if len(flaky.Attempts) != 4 {
		return fmt.Errorf("the API shows %d attempts of the handler that fails three times", len(flaky.Attempts))
	}
	broken, err := s.jobOf(ctx, subscriberBroken, jobs.Dead)
	if err != nil {
		return err
	}
	if err := s.says(ctx, "/failures", "not mended yet"); err != nil {
		return err
	}
	mended.Store(true)
	if err := s.press(ctx, broken.ID.String(), "retry"); err != nil {
		return err
	}
	if _, err := s.completed(ctx, broken.ID); err != nil {
		return err
	}
	return until(ctx, "the peer has the event as JSON and as gob", func() (bool, error) { return peered.Load() == 2, nil })
}

// bound waits until workers consume the queues of the subscribers.
func (w *world) bound(ctx context.Context, subscribers ...string) error {
	return until(ctx, fmt.Sprintf("%q receive events", subscribers), func() (bool, error) {
		conn, err := amqp.Dial(w.urls.broker)
		if err != nil {
			return false, fmt.Errorf("connect to the broker: %w", err)
		}
		defer func() { _ = conn.Close() }()
		for _, name := range subscribers {
			channel, err := conn.Channel()
			if err != nil {
				return false, fmt.Errorf("connect to the broker: %w", err)
			}
			q, err := channel.QueueDeclarePassive("warren.jobs."+name, true, false, false, false, nil)
			if err != nil || q.Consumers == 0 {
				return false, nil //nolint:nilerr // there is no such queue yet
			}
		}
		return true, nil
	})
}

// jobOf waits for the job of a subscriber that is in the state.
func (s *tasksScenario) jobOf(ctx context.Context, subscriber string, state jobs.State) (detail jobs.Detail, err error) {
	err = until(ctx, fmt.Sprintf("a job of %s is %s", subscriber, state), func() (bool, error) {
		var list struct{ Items []jobs.Job }
		if err := s.api(ctx, "jobs?kind="+subscriber+"&state="+string(state), &list); err != nil || len(list.Items) == 0 {
			return false, err
		}
		return true, s.api(ctx, "jobs/"+list.Items[0].ID.String(), &detail)
	})
	return detail, err
}

// runNow runs the job of a subscriber now, once it waits for its retry.
func (s *tasksScenario) runNow(ctx context.Context, subscriber string) error {
	failed, err := s.jobOf(ctx, subscriber, jobs.Retrying)
	if err != nil {
		return err
	}
	if err := s.press(ctx, failed.ID.String(), "run"); err != nil {
		return err
	}
	return until(ctx, "the job of "+subscriber+" runs once more", func() (bool, error) {
		var now jobs.Detail
		err := s.api(ctx, "jobs/"+failed.ID.String(), &now)
		return now.Dispatch > failed.Dispatch && (now.State == jobs.Completed || now.State == jobs.Retrying), err
	})
}

// press presses a button on the page of a job.
func (s *tasksScenario) press(ctx context.Context, job, button string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.dashboard+"/jobs/"+job+"/"+button, http.NoBody)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("press %s: %w", button, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode == http.StatusConflict && button == "run": // its time came before the press
		return nil
	}
	return fmt.Errorf("press %s: %s", button, resp.Status)
}

// count counts the tasks of the table, and those that the index has with the same version and no others.
func (s *tasksScenario) count(ctx context.Context) (n count, err error) {
	if err := s.drained(ctx); err != nil {
		return n, err
	}
	if n.sent, err = s.number(ctx, `SELECT count(*) FROM warren.tasks`); err != nil {
		return n, err
	}
	n.seen, err = s.number(ctx, `SELECT count(t.id) - count(*) FILTER (WHERE t.id IS NULL) FROM warren.task_index i
		LEFT JOIN warren.tasks t ON t.id = i.task_id AND t.version = i.version WHERE i.words IS NOT NULL`)
	return n, err
}
