package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/web/demo"
)

func newDemo(cfg *Config) *cobra.Command {
	var length time.Duration
	var remove, force bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Fill a running warren with the life of a shop, to look at",
		Long: `Fill a running warren with the life of a shop: jobs of several kinds and queues,
failures, killed workers, redeliveries. The jobs have the origin and the tag demo,
the queues begin with demo-, and warren demo --remove takes all of it away again.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.HasPrefix(strings.ToLower(cfg.Environment), "prod") && !force {
				return fmt.Errorf("WARREN_ENV is %q: a demo does not belong there (--force, if it does)", cfg.Environment)
			}
			if length <= 0 {
				return usageError{fmt.Errorf("--for is %s: it must be more than 0", length)}
			}
			if err := useRunning(cmd, cfg); err != nil {
				return err
			}
			return withClient(cmd, cfg, false, func(ctx context.Context, c client) error {
				awaitTables(ctx, c.store) // useRunning has set the URLs of servers that may just have started
				if remove {
					return c.removeDemo(ctx, *cfg)
				}
				return c.demo(ctx, *cfg, length)
			})
		},
	}
	cmd.Flags().DurationVar(&length, "for", 10*time.Minute, "how long")
	cmd.Flags().BoolVar(&remove, "remove", false, "delete the jobs and queues of earlier demos instead")
	cmd.Flags().BoolVar(&force, "force", false, "also where WARREN_ENV says production")
	return cmd
}

// useRunning uses the servers of a running warren where no URLs are given.
func useRunning(cmd *cobra.Command, cfg *Config) error {
	if err := cfg.Check(); err != nil {
		return err
	}
	if postgres, rabbitmq := cfg.Private(); !postgres && !rabbitmq {
		return nil
	}
	info, err := privateServers(cmd, cfg)
	if err != nil {
		return err
	}
	if cfg.DatabaseURL == "" {
		cfg.DatabaseURL = info.DatabaseURL
	}
	if cfg.AMQPURL == "" {
		cfg.AMQPURL, cfg.ManagementURL = info.AMQPURL, info.ManagementURL
	}
	return nil
}

func (c client) demo(ctx context.Context, cfg Config, length time.Duration) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format+"\n", args...) }
	say("A shop opens for %s: look at the dashboard. Ctrl-C closes it.", length)
	running, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	err := demo.Run(running, demo.Options{Store: c.store, Broker: clientBroker(cfg, "demo"), Out: c.out,
		Env: []string{"DATABASE_URL=" + cfg.DatabaseURL, "AMQP_URL=" + cfg.AMQPURL, "RABBITMQ_MANAGEMENT_URL=" + cfg.ManagementURL,
			"WARREN_METRICS_LISTEN="}}) // the port belongs to the running warren
	counts, countErr := demo.Counts(context.WithoutCancel(ctx), c.store)
	if counts != "" {
		say("\nWhat is there now: %s.\nIts queues have no workers any more. To take all of it away: warren demo --remove", counts)
	}
	return errors.Join(err, countErr)
}

func (c client) removeDemo(ctx context.Context, cfg Config) error {
	n, err := demo.Remove(ctx, c.store, clientBroker(cfg, "demo"), by(""))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "Removed the demo: %d jobs, its tasks, schedules and queues.\n", n)
	return err
}

// newDemoWorker returns the command of a worker that also knows the kinds of the demo.
func newDemoWorker(cfg *Config, own []*jobs.Kind) *cobra.Command {
	cmd := &cobra.Command{
		Use:    demo.WorkerCommand,
		Short:  "Run jobs of the demo",
		Hidden: true,
		Args:   usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Demo = true
			return runRoles(cmd, *cfg, []warren.Role{warren.RoleWorker}, append(demo.Kinds(), own...))
		},
	}
	workerFlags(cmd, cfg)
	return cmd
}
