package kinds

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// Dots simulates work as the work queue of the RabbitMQ tutorial does: one second per dot.
type Dots struct {
	Text string `json:"text" jsonschema:"title=Text,minLength=1,maxLength=10000,example=Hello...,description=One second of work for each dot in it."`
}

// Kind returns "dots".
func (Dots) Kind() string { return "dots" }

// Description returns the kind's description for people.
func (Dots) Description() string { return "Waits one second per dot. Good for trying things out." }

func dots(ctx context.Context, run *jobs.Run, args Dots) error {
	n := strings.Count(args.Text, ".")
	for i := range n {
		run.Progress(float64(i)/float64(n), fmt.Sprintf("%d of %d dots", i, n))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	run.Progress(1, fmt.Sprintf("%d of %d dots", n, n))
	return run.Output(map[string]any{"dots": n})
}
