package warren

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// Intervals at which the processes exchange their kinds.
const (
	kindsSaved  = 10 * time.Minute // between two writes of this process's own kinds
	kindsLearnt = 5 * time.Second  // between two reads of the others' kinds, once the dashboard is served
)

// shareKinds writes the kinds of this process to the database, for the other processes, until ctx
// ends.
func (c *Client) shareKinds(ctx context.Context) {
	program := filepath.Base(os.Args[0])
	c.repeat(ctx, kindsSaved, "tell the others the kinds of this process", func(ctx context.Context) error {
		return c.store.SaveKinds(ctx, program, c.cfg.Version, c.registry.Own())
	})
}

// learnKinds keeps the kinds of other processes in the registry up to date, until ctx ends.
func (c *Client) learnKinds(ctx context.Context) {
	c.repeat(ctx, kindsLearnt, "read the kinds of other processes", func(ctx context.Context) error {
		list, err := c.store.Kinds(ctx)
		if err != nil {
			return err
		}
		return c.registry.Learn(list)
	})
}

// repeat calls do at once and then every d, until ctx ends. After an error it retries within 5 s.
func (c *Client) repeat(ctx context.Context, d time.Duration, what string, do func(context.Context) error) {
	for ctx.Err() == nil {
		wait := d
		brief, cancel := context.WithTimeout(ctx, 5*time.Second)
		if err := do(brief); err != nil {
			c.log.Debug(what, "error", err)
			wait = min(d, 5*time.Second)
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
