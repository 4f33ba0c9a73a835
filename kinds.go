package warren

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// Of how the processes tell each other their kinds.
const (
	kindsSaved  = 10 * time.Minute // between two times that this process says its own
	kindsLearnt = 5 * time.Second  // between two looks at those of others, where somebody sees them
)

// shareKinds tells the other processes which kinds this one has, until ctx ends.
func (c *Client) shareKinds(ctx context.Context) {
	program := filepath.Base(os.Args[0])
	c.repeat(ctx, kindsSaved, "tell the others the kinds of this process", func(ctx context.Context) error {
		return c.store.SaveKinds(ctx, program, c.cfg.Version, c.registry.Own())
	})
}

// learnKinds keeps what is known of the kinds of other processes, until ctx ends.
func (c *Client) learnKinds(ctx context.Context) {
	c.repeat(ctx, kindsLearnt, "read the kinds of other processes", func(ctx context.Context) error {
		list, err := c.store.Kinds(ctx)
		if err != nil {
			return err
		}
		return c.registry.Learn(list)
	})
}

// repeat does something at once and then every d, until ctx ends. An error is
// tried again after 5 s.
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
