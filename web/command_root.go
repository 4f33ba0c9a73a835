package web

import (
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

// newCommand returns the whole command line, for the built-in kinds and the program's own. Flags
// override the configuration that the environment and .env give.
func newCommand(own []*jobs.Kind) *cobra.Command {
	var cfg Config
	root := &cobra.Command{
		Use:   "warren",
		Short: "Background jobs on RabbitMQ and PostgreSQL, with a live dashboard",
		Long: `Warren runs background jobs on RabbitMQ and PostgreSQL and shows them live.

Without configuration it starts a private PostgreSQL and a private RabbitMQ under
.warren and serves the dashboard on http://127.0.0.1:8080. With DATABASE_URL and
AMQP_URL it uses those servers.`,
		Args:          usageArgs(cobra.NoArgs),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			flags := cfg // the values of the flags
			loaded, err := LoadConfig()
			if err != nil {
				return err
			}
			cfg = override(loaded, flags, cmd)
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runRoles(cmd, cfg, warren.Roles(), own) },
	}
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = true
	persistent := root.PersistentFlags()
	persistent.StringVar(&cfg.Data, "data", "", "folder of the private servers (WARREN_DATA, .warren)")
	listenFlag(root, &cfg)
	workerFlags(root, &cfg)

	for _, role := range warren.Roles() {
		cmd := &cobra.Command{
			Use:   string(role),
			Short: roleHelp[role],
			Args:  usageArgs(cobra.NoArgs),
			RunE:  func(cmd *cobra.Command, _ []string) error { return runRoles(cmd, cfg, []warren.Role{role}, own) },
		}
		switch role {
		case warren.RoleWeb:
			listenFlag(cmd, &cfg)
		case warren.RoleWorker:
			workerFlags(cmd, &cfg)
		}
		root.AddCommand(cmd)
	}
	root.AddCommand(newEnqueue(&cfg, own), newJobs(&cfg), newTasks(&cfg, own), newSchedules(&cfg, own), newFailures(&cfg), newQueues(&cfg),
		newEvents(&cfg), newWorkers(&cfg), newTail(&cfg), newPublish(&cfg), newMigrate(&cfg), newEnv(&cfg), newVersion(), newLicenses(),
		newServers(&cfg), newDemo(&cfg), newDemoWorker(&cfg, own))
	return root
}

var roleHelp = map[warren.Role]string{
	warren.RoleWeb:       "Serve the dashboard and the API",
	warren.RoleRelay:     "Take messages from the outbox to the broker",
	warren.RoleWorker:    "Run jobs",
	warren.RoleScheduler: "Enqueue due jobs, recover those of workers that are gone, answer dead letters",
	warren.RoleMonitor:   "Watch the broker and keep its history",
}

func listenFlag(cmd *cobra.Command, cfg *Config) {
	cmd.Flags().StringVar(&cfg.Listen, "listen", "", "address of the dashboard (WARREN_LISTEN, 127.0.0.1:8080)")
}

func workerFlags(cmd *cobra.Command, cfg *Config) {
	cmd.Flags().StringSliceVar(&cfg.Queues, "queue", nil, "queues to work, separated by commas (WARREN_QUEUES, default)")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 0, "jobs to run at once (WARREN_CONCURRENCY, 10)")
	cmd.Flags().IntVar(&cfg.Prefetch, "prefetch", 0, "messages to hold at once (WARREN_PREFETCH, as the concurrency)")
}

// override applies the flags that were set on the command line.
func override(cfg, flags Config, cmd *cobra.Command) Config {
	set := func(name string) bool { return cmd.Flags().Changed(name) }
	if set("data") {
		cfg.Data = flags.Data
	}
	if set("listen") {
		cfg.Listen = flags.Listen
	}
	if set("queue") && cmd.Flags().Lookup("queue").Value.Type() == "stringSlice" {
		cfg.Queues = flags.Queues
	}
	if set("concurrency") {
		cfg.Concurrency = flags.Concurrency
	}
	if set("prefetch") {
		cfg.Prefetch = flags.Prefetch
	}
	return cfg
}

func runRoles(cmd *cobra.Command, cfg Config, roles []warren.Role, own []*jobs.Kind) error {
	return Run(cmd.Context(), cfg, roles, newLog(cfg), own...)
}

func newLog(cfg Config) *slog.Logger {
	level, _ := cfg.logLevel() // Check has the error
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: hidePassword}
	if strings.EqualFold(cfg.LogFormat, "json") {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// hidePassword removes passwords of URLs from what is logged, such as the errors of libraries.
func hidePassword(_ []string, a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	}
	if hidden := withoutPassword(text); hidden != text {
		a.Value = slog.StringValue(hidden)
	}
	return a
}
