package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/web/private"
)

// client runs a client command on the database that a running warren uses. It never starts a
// server.
type client struct {
	store *store.Store
	out   io.Writer
	notes io.Writer // what is said while a command waits
	json  bool
}

// withClient opens the store, waits for the tables of private servers that have just started, runs do and closes it.
func withClient(cmd *cobra.Command, cfg *Config, asJSON bool, do func(ctx context.Context, c client) error) error {
	return withDatabase(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
		if cfg.DatabaseURL == "" {
			awaitTables(ctx, c.store)
		}
		return do(ctx, c)
	})
}

// withDatabase is withClient for a database that may have no tables yet.
func withDatabase(cmd *cobra.Command, cfg *Config, asJSON bool, do func(ctx context.Context, c client) error) error {
	url, err := databaseURL(cmd, cfg)
	if err != nil {
		return err
	}
	s, err := store.Open(cmd.Context(), url)
	if err != nil {
		return err
	}
	defer s.Close()
	err = do(cmd.Context(), client{store: s, out: terminal{cmd.OutOrStdout()}, notes: terminal{cmd.ErrOrStderr()}, json: asJSON})
	if why := s.Explain(err); why != "" {
		return errors.New(why)
	}
	return withFlags(cmd, explain(err))
}

func databaseURL(cmd *cobra.Command, cfg *Config) (string, error) {
	if err := cfg.Check(); err != nil {
		return "", err
	}
	if cfg.DatabaseURL != "" {
		return cfg.DatabaseURL, nil
	}
	info, err := privateServers(cmd, cfg)
	if err != nil {
		return "", err
	}
	return info.DatabaseURL, nil
}

// privateServers returns those of a running warren; it waits while they start.
func privateServers(cmd *cobra.Command, cfg *Config) (*private.Info, error) {
	return private.Await(cmd.Context(), cfg.Data, func() {
		_, _ = fmt.Fprintf(terminal{cmd.ErrOrStderr()}, "waiting until Warren has started its servers in %s\n", cfg.Data)
	})
}

// tablesWithin is how long a command waits for the tables of a warren whose servers have started.
const tablesWithin = 20 * time.Second

// awaitTables waits until the warren has made its tables. What does not come is the command's own error.
func awaitTables(ctx context.Context, s *store.Store) {
	ctx, cancel := context.WithTimeout(ctx, tablesWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if made, err := s.Migrated(ctx); made || err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// explain turns an error of the store into a sentence for the user of the command line.
func explain(err error) error {
	var fields jobs.FieldErrors
	switch {
	case err == nil, errors.As(err, &fields):
		return err
	case errors.Is(err, jobs.ErrNotFound):
		return errors.New("there is no such job")
	case store.IsAway(err):
		return fmt.Errorf("the database cannot be reached, or no warren has prepared it yet: %w", err)
	}
	return err
}

// by returns the actor for the audit log: the OS user, at this host.
func by(reason string) jobs.Actor {
	b := jobs.Actor{Name: "cli", Reason: reason}
	if u, err := user.Current(); err == nil {
		b.Name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		b.From = host
	}
	return b
}

// print writes v as JSON, as the API would, or calls table.
func (c client) print(v any, table func(w io.Writer)) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(v)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

func row(w io.Writer, cells ...any) {
	for i, value := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(w, "\t")
		}
		_, _ = fmt.Fprint(w, cell(fmt.Sprint(value)))
	}
	_, _ = fmt.Fprintln(w)
}

func when(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func orDash[T any](v *T) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprint(*v)
}

// clientBroker returns the broker of a process that runs no role; purpose is shown in the broker's
// own UI.
func clientBroker(cfg Config, purpose string) *rabbit.Broker {
	b := &rabbit.Broker{URL: cfg.AMQPURL, Names: rabbit.Names{Prefix: cfg.Prefix},
		Process: warren.ProcessName() + " " + purpose, Log: slog.New(slog.DiscardHandler)}
	b.TLS, _ = cfg.brokerTLS() // Check has read the files
	return b
}

// noun returns the command of a resource: alone it does what its subcommand list does.
func noun(use, short string, list func() *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd := list()
	cmd.Use, cmd.Short = use, short
	cmd.AddCommand(list())
	cmd.AddCommand(commands...)
	return cmd
}

// lister is a command that lists something, a page at a time.
type lister[T any] struct {
	short string
	read  func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (jobs.Page[T], error)
	head  []any
	row   func(T) []any
	foot  func(ctx context.Context, s *store.Store) (string, error) // a line below the table; may be nil
}

// below prints what follows on the table: how to read on, and the list's own line.
func (l lister[T]) below(ctx context.Context, c client, next jobs.Cursor) error {
	if next != (jobs.Cursor{}) {
		_, err := fmt.Fprintf(c.notes, "There is more: go on with --cursor %s, or raise --limit (at most %d).\n", next, limitMax)
		if err != nil {
			return err
		}
	}
	if l.foot == nil {
		return nil
	}
	line, err := l.foot(ctx, c.store)
	if err == nil && line != "" {
		_, err = fmt.Fprintln(c.out, cell(line))
	}
	return err
}

// limitMax is the most that a list prints.
const limitMax = 200

func (l lister[T]) command(cfg *Config) *cobra.Command {
	var cursor string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: l.short, Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			place, err := jobs.ParseCursor(cursor)
			if err != nil {
				return usageError{fmt.Errorf("--%w", err)}
			}
			if limit < 1 || limit > limitMax {
				return usageError{fmt.Errorf("--limit is %d: it must be between 1 and %d", limit, limitMax)}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				page, err := l.read(ctx, c.store, place, limit)
				if err != nil {
					return err
				}
				if err := c.print(page, func(w io.Writer) {
					row(w, l.head...)
					for _, item := range page.Items {
						row(w, l.row(item)...)
					}
				}); err != nil || c.json {
					return err
				}
				return l.below(ctx, c, page.Next)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cursor, "cursor", "", "go on from the \"next\" of the page before")
	flags.IntVar(&limit, "limit", 50, "how many")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}
