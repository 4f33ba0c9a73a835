package web

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/web/private"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "warren", Version)
			return err
		},
	}
}

func newMigrate(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema up to this version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDatabase(cmd, cfg, false, func(ctx context.Context, c client) error {
				if err := c.store.Migrate(ctx); err != nil {
					return err
				}
				_, err := fmt.Fprintln(c.out, "the schema is up to date")
				return err
			})
		},
	}
}

func newEnv(cfg *Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the URLs and process ids of the private servers of a running warren",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			info, err := privateServers(cmd, cfg)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(info)
			}
			out := cmd.OutOrStdout()
			for _, line := range [][2]string{{"DATABASE_URL", info.DatabaseURL}, {"AMQP_URL", info.AMQPURL}, {"RABBITMQ_MANAGEMENT_URL",
				info.ManagementURL}} {
				if line[1] != "" {
					_, _ = fmt.Fprintf(out, "%s=%s\n", line[0], line[1])
				}
			}
			for _, name := range slices.Sorted(maps.Keys(info.Processes)) {
				_, _ = fmt.Fprintf(out, "%s_PID=%d\n", strings.ToUpper(name), info.Processes[name].Pid)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newQueues(cfg *Config) *cobra.Command {
	return noun("queues", "List the broker's queues, pause, resume or purge one, or say who works it",
		func() *cobra.Command { return newQueuesList(cfg) },
		newQueuesSwitch(cfg, "pause", "Leave the jobs of a queue in the outbox until it is resumed", (*store.Store).PauseQueue),
		newQueuesSwitch(cfg, "resume", "Send the jobs of a paused queue again", (*store.Store).ResumeQueue), newQueuesPurge(cfg),
		newQueuesExternal(cfg))
}

// newServers returns the command that runs another command beside private servers, with their URLs
// in its environment: it is how the tests of all packages share one set of servers.
func newServers(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:    "servers -- COMMAND…",
		Short:  "Run a command with private servers (for tests)",
		Hidden: true,
		Args:   usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			servers, err := private.Open(cmd.Context(), private.Options{Dir: cfg.Data, Postgres: true, RabbitMQ: true, Log: newLog(*cfg)})
			if err != nil {
				return err
			}
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				_ = servers.Close(ctx)
			}()
			admin, err := servers.AdminURL() // tests make databases and roles
			if err != nil {
				return err
			}
			child := exec.CommandContext(cmd.Context(), args[0], args[1:]...)
			// The command stops what it has started, while the servers are there; a Ctrl-C has reached it before.
			child.Cancel = func() error { return child.Process.Signal(os.Interrupt) }
			child.WaitDelay = time.Minute
			child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
			child.Env = append(os.Environ(),
				"WARREN_TEST_DATABASE_URL="+admin,
				"WARREN_TEST_AMQP_URL="+servers.AMQPURL(),
				"WARREN_TEST_MANAGEMENT_URL="+servers.ManagementURL())
			if err := child.Run(); err != nil {
				if child.ProcessState != nil && child.ProcessState.ExitCode() > 0 {
					return exitCode(child.ProcessState.ExitCode())
				}
				return fmt.Errorf("run %s: %w", args[0], err)
			}
			return nil
		},
	}
}
