package events

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warrenjobs/warren/jobs"
)

// Subscriber receives the events of one exchange that match the patterns of its Mux, in a durable
// queue of its own. It is immutable and safe for concurrent use.
type Subscriber struct {
	name     string
	exchange string
	mux      *Mux
	options  []jobs.Option
}

// Subscribe returns a subscriber to be given to warren.Config. Its name is the name of its queue and
// the kind of its jobs: each event becomes one job, which is tried again, ends on the Failures page
// and is retried like any other. The options are the defaults of these jobs: attempts, timeout and
// tags. What is wrong with the subscriber is an error of warren.Open.
func Subscribe(name, exchange string, mux *Mux, options ...jobs.Option) *Subscriber {
	return &Subscriber{name: name, exchange: exchange, mux: mux, options: options}
}

// Name returns the name of the subscriber, its queue and the kind of its jobs.
func (s *Subscriber) Name() string { return s.name }

// Exchange returns the topic exchange to which its queue is bound.
func (s *Subscriber) Exchange() string { return s.exchange }

// Patterns returns the patterns by which its queue is bound.
func (s *Subscriber) Patterns() []string { return s.mux.Patterns() }

// Check reports whether the subscriber can be run.
func (s *Subscriber) Check() error {
	var errs []error
	if err := jobs.CheckQueue(s.name); err != nil {
		errs = append(errs, fmt.Errorf("its name %q must be a valid name of a queue: %w", s.name, err))
	}
	if !shortText(s.exchange) {
		errs = append(errs, fmt.Errorf("its exchange %.100q must be plain text of 1 to %d bytes", s.exchange, nameMax))
	}
	if reserved(s.exchange) {
		errs = append(errs, fmt.Errorf("its exchange %q %s", s.exchange, reservedWords))
	}
	if len(s.mux.routes) == 0 {
		errs = append(errs, errors.New("its Mux has no pattern"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the subscriber %q: %w", s.name, err)
	}
	return nil
}

// Kind returns the kind of its jobs.
func (s *Subscriber) Kind() *jobs.Kind {
	options := append(slices.Clone(s.options), jobs.OnQueue(s.name))
	return jobs.Handle(s.handle, options...).As(s.name, fmt.Sprintf("Handles an event of the exchange %s for this subscriber.", s.exchange))
}

func (s *Subscriber) handle(ctx context.Context, run *jobs.Run, e Envelope) error {
	d := &Delivery{Run: run, ID: e.ID, Exchange: e.Exchange, Key: e.Key, ContentType: e.ContentType, Headers: e.Headers, Body: e.Base64}
	if e.Body != nil {
		d.Body = e.Body
	}
	if e.PublishedAt != nil {
		d.PublishedAt = *e.PublishedAt
	}
	return s.mux.deliver(ctx, d)
}
