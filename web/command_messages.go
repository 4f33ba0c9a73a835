package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// byHand returns what tails and publishes; cfg has the URLs of running servers.
func byHand(cfg Config) (*rabbit.ByHand, error) {
	b := clientBroker(cfg, "client")
	if cfg.ManagementURL == "" || cfg.ManagementURL == noManagement {
		return b.ByHand(nil), nil
	}
	manage, err := management.New(cfg.ManagementURL, management.WithTLS(b.TLS.Clone()))
	if err != nil {
		return nil, err
	}
	return b.ByHand(manage), nil
}

func newTail(cfg *Config) *cobra.Command {
	var count int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tail EXCHANGE [PATTERN]",
		Short: "Print the messages that an exchange routes, until Ctrl-C",
		Long: `Print the messages that an exchange routes, until Ctrl-C.

PATTERN is that of a topic exchange (order.*; everything without it), the routing key of a direct
exchange, nothing for a fanout exchange, and header=value pairs for a headers exchange, after
the word any if one of them suffices. The tail is a queue of its own: it takes nothing from
other queues, and is gone with the command.`,
		Example: `  warren tail amq.topic '#'`,
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 0 {
				return usageError{fmt.Errorf("--count is %d: it must be at least 1, or 0 for no end", count)}
			}
			if err := useRunning(cmd, cfg); err != nil {
				return err
			}
			s := messages.Source{Exchange: args[0]}
			if len(args) == 2 {
				s.Pattern = args[1]
			}
			return tailTo(cmd.Context(), *cfg, s, count, asJSON, terminal{cmd.OutOrStdout()}, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&count, "count", 0, "end after so many messages (0: no end)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per message")
	return cmd
}

// tailTo writes messages until ctx ends or there were count of them.
func tailTo(ctx context.Context, cfg Config, s messages.Source, count int, asJSON bool, out, notes io.Writer) error {
	broker, err := byHand(cfg)
	if err != nil {
		return err
	}
	from, err := broker.Tail(ctx, s)
	if err != nil {
		return err
	}
	defer from.Close()
	_, _ = fmt.Fprintf(notes, "tailing %s\n", cell(s.Exchange))
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case m, more := <-from.C():
			if !more {
				return from.Err()
			}
			if err := writeTailed(out, m, asJSON); err != nil || n == count {
				return err
			}
		}
		if from.Behind() && n%1000 == 0 {
			_, _ = fmt.Fprintln(notes, "messages come faster than they are printed: some are missing")
		}
	}
}

// writeTailed writes a message as JSON, or as a line with its body below it.
func writeTailed(out io.Writer, m messages.Tailed, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(m)
	}
	var b []byte
	b = fmt.Appendf(b, "%s  %s  %d B", m.At.UTC().Format("15:04:05.000Z"), cell(m.Key), m.Size)
	for _, p := range m.Set() {
		b = fmt.Appendf(b, "  %s=%s", p.Name, cell(p.Value))
	}
	text, isText := m.Text()
	if !isText {
		text = fmt.Sprintf("%x", m.Body[:min(len(m.Body), 64)])
	}
	if m.Cut() || !isText {
		text += "…"
	}
	_, err := fmt.Fprintf(out, "%s\n%s\n", b, escaped(text, '\n'))
	return err
}

// publishFlags are the flags of warren publish.
type publishFlags struct {
	message           messages.Message
	headers           []string
	persistent        bool
	confirmed, asJSON bool
	reason            string
}

func newPublish(cfg *Config) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish EXCHANGE KEY [BODY|-]",
		Short: "Publish one message, and say to which queues it was routed",
		Long: `Publish one message, and say to which queues it was routed. BODY is - for standard input;
EXCHANGE is "" for the default exchange, whose keys are names of queues. It exits with 1 if no
queue took the message.`,
		Example: `  warren publish amq.topic order.packaged '{"id":7}' --content-type application/json --header copies=2`,
		Args:    usageArgs(cobra.RangeArgs(2, 3)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.message.Exchange, f.message.Key = args[0], args[1]
			if err := f.read(args[2:], cmd.InOrStdin()); err != nil {
				return err
			}
			if err := useRunning(cmd, cfg); err != nil {
				return err
			}
			return withClient(cmd, cfg, f.asJSON, func(ctx context.Context, c client) error { return f.publish(ctx, *cfg, c) })
		},
	}
	flags, p := cmd.Flags(), &f.message.Properties
	flags.StringArrayVar(&f.headers, "header", nil, `name=value, any number of times: 12 is a number, true a boolean, "12" in quotes text`)
	for name, value := range map[string]*string{"type": &p.Type, "content-type": &p.ContentType, "content-encoding": &p.ContentEncoding,
		"message-id": &p.MessageID, "correlation-id": &p.CorrelationID, "reply-to": &p.ReplyTo, "app-id": &p.AppID,
		"user-id": &p.UserID} {
		flags.StringVar(value, name, "", "property of the message")
	}
	flags.IntVar(&p.Priority, "priority", 0, "0 to 255")
	flags.StringVar(&p.Expiration, "expiration", "", "milliseconds")
	flags.StringVar(&p.Timestamp, "timestamp", "", "RFC 3339, or +10m from now")
	flags.BoolVar(&f.persistent, "persistent", true, "durable queues keep it across a broker restart")
	flags.BoolVar(&f.confirmed, "confirm", false, "publish also to Warren's own exchanges and queues")
	flags.StringVar(&f.reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&f.asJSON, "json", false, "print the API's object")
	return cmd
}

// read reads the body and the headers.
func (f *publishFlags) read(body []string, in io.Reader) (err error) {
	m := &f.message
	if m.DeliveryMode = 1; f.persistent {
		m.DeliveryMode = 2
	}
	if m.Headers, err = messages.ParseHeaders(f.headers); err != nil {
		return usageError{fmt.Errorf("--header: %w", err)}
	}
	if len(body) == 1 {
		m.Body = []byte(body[0])
	}
	if len(body) == 1 && body[0] == "-" {
		if m.Body, err = io.ReadAll(io.LimitReader(in, messages.BodyMax+1)); err != nil {
			return fmt.Errorf("read the body from standard input: %w", err)
		}
	}
	if wrong := m.Check(); len(wrong) > 0 {
		return usageError{wrong}
	}
	return nil
}

func (f *publishFlags) publish(ctx context.Context, cfg Config, c client) error {
	broker, err := byHand(cfg)
	if err != nil {
		return err
	}
	if own := broker.Own(f.message.Exchange, f.message.Key); own != "" && !f.confirmed {
		return errors.New(own + " To publish it all the same, add --confirm")
	}
	answer, err := broker.Publish(ctx, f.message)
	if err != nil {
		return err
	}
	m := f.message
	if err := c.store.WriteAudit(ctx, by(f.reason), messages.AuditAction, m.AuditTarget(), m.AuditDetails(answer)); err != nil {
		return fmt.Errorf("the message was published, but not written to the audit log: %w", err)
	}
	if err := c.print(answer, func(w io.Writer) { _, _ = fmt.Fprintln(w, cell(answer.String())) }); err != nil {
		return err
	}
	if !answer.Routed {
		return exitCode(exitRefused)
	}
	return nil
}
