package web

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

func newQueuesExternal(cfg *Config) *cobra.Command {
	var within, reason string
	var remove, asJSON bool
	cmd := &cobra.Command{
		Use:     "external QUEUE",
		Short:   "Say that workers of other programs work a queue, and within what time they must report",
		Example: "  warren queues external reports --report-within 30m",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkQueue(args[0]); err != nil {
				return err
			}
			limit, err := engine.ParseReportWithin(within)
			if err != nil {
				return usageError{fmt.Errorf("--%w", err)}
			}
			set := engine.ExternalQueue{External: !remove, ReportWithin: limit}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				if err := c.store.SetExternal(ctx, args[0], set, by(reason)); err != nil {
					return err
				}
				return c.print(set, func(w io.Writer) { _, _ = fmt.Fprintln(w, externalLine(args[0], set)) })
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&within, "report-within", "", "an attempt without a report for so long fails: 30m, 2h, or off (default 1h)")
	flags.BoolVar(&remove, "remove", false, "other programs no longer work it")
	flags.StringVar(&reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func externalLine(queue string, set engine.ExternalQueue) string {
	switch {
	case !set.External:
		return queue + ": worked by Warren's workers alone"
	case set.ReportWithin == 0:
		return queue + ": worked by other programs, which need not report"
	}
	return queue + ": worked by other programs, which report within " + engine.DurationText(time.Duration(set.ReportWithin))
}

// prepareFor fills in and checks a job for its queue: one that other programs work takes any kind.
func (c client) prepareFor(ctx context.Context, registry *jobs.Registry, job *jobs.NewJob) error {
	if registry.Lookup(job.Kind) == nil {
		queue := job.Queue
		if queue == "" {
			queue = jobs.QueueDefault
		}
		if external, err := c.store.IsExternal(ctx, queue); err != nil || external {
			if err != nil {
				return err
			}
			return job.Prepare()
		}
	}
	return registry.Prepare(job)
}
