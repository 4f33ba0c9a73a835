package kinds

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"github.com/warrenjobs/warren/jobs"
)

// mailTimeout limits the two phases of the SMTP session separately: connecting and signing in, and sending.
const mailTimeout = 30 * time.Second

// Mail sends one mail to one address. A job may run more than once; all its mails have the same
// Message-ID, by which a receiver recognises a duplicate.
type Mail struct {
	To      string `json:"to" jsonschema:"title=To,minLength=1,maxLength=500,example=ann@example.com"`
	Subject string `json:"subject" jsonschema:"title=Subject,minLength=1,maxLength=500"`
	Text    string `json:"text,omitempty" jsonschema:"title=Text" jsonschema_description:"Text, HTML or both (the mail client picks)." jsonschema_extras:"contentMediaType=text/plain"`
	HTML    string `json:"html,omitempty" jsonschema:"title=HTML" jsonschema_extras:"contentMediaType=text/html"`
	ReplyTo string `json:"reply_to,omitempty" jsonschema:"title=Reply to,maxLength=500,example=support@example.com"`
	From    string `json:"from,omitempty" jsonschema:"title=From,maxLength=500,example=shop@example.com,description=Default: WARREN_MAIL_FROM."`
}

// Kind returns "mail".
func (Mail) Kind() string { return "mail" }

// Description returns the kind's description for people.
func (Mail) Description() string {
	return "Sends a mail through the server that SMTP_URL names. Permanent rejections aren't retried."
}

// Validate checks the rules that the schema cannot express. The error is FieldErrors.
func (a Mail) Validate() error {
	var wrong jobs.FieldErrors
	add := func(bad bool, field, message string) {
		if bad {
			wrong = append(wrong, jobs.FieldError{Field: field, Message: message})
		}
	}
	const address = "must be one mail address, such as ann@example.com or Ann <ann@example.com>, with plain letters before the @"
	add(!isAddress(a.To), "to", address)
	add(a.ReplyTo != "" && !isAddress(a.ReplyTo), "reply_to", address)
	add(a.From != "" && !isAddress(a.From), "from", address)
	add(strings.ContainsFunc(a.Subject, unicode.IsControl), "subject", "must be one line without control characters")
	add(a.Text == "" && a.HTML == "", "text", "is required where html is empty")
	if wrong == nil {
		return nil
	}
	return wrong
}

func isAddress(s string) bool {
	_, err := parseAddress(s)
	return err == nil
}

// parseAddress parses an address as it goes over the wire: the domain in ASCII (IDNA, RFC 5891).
// Any server takes that; a local part that is not ASCII needs SMTPUTF8, which few have.
func parseAddress(s string) (*netmail.Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndexByte(a.Address, '@')
	local, domain := a.Address[:at], a.Address[at+1:]
	if strings.ContainsFunc(local, func(r rune) bool { return r > unicode.MaxASCII }) {
		return nil, errors.New("the part before the @ has letters that are not ASCII")
	}
	if strings.ContainsFunc(domain, func(r rune) bool { return r > unicode.MaxASCII }) {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, err
		}
	}
	a.Address = local + "@" + domain
	return a, nil
}

// MailConfig names the mail server and the sender. The zero MailConfig sends nothing.
type MailConfig struct {
	host           string
	port           int
	user, password string
	security       mailSecurity
	from           string
	tls            *tls.Config // nil: the system's roots are trusted
}

type mailSecurity int

const (
	startTLS mailSecurity = iota // required: without it no mail is sent
	implicitTLS
	noTLS
)

// ParseMailConfig parses the values of SMTP_URL and WARREN_MAIL_FROM; either may be empty. The
// error names the variable and never contains the password.
func ParseMailConfig(smtpURL, from string) (MailConfig, error) {
	c := MailConfig{from: from}
	if from != "" && !isAddress(from) {
		return c, fmt.Errorf("WARREN_MAIL_FROM is %q: it must be a mail address, such as Warren <warren@example.com>", from)
	}
	if smtpURL == "" {
		return c, nil
	}
	u, err := url.Parse(smtpURL)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return c, errors.New("SMTP_URL is not an SMTP URL: it must look like smtp://user:password@host:587 " +
			"or smtps://user:password@host:465, with special characters in user and password percent-encoded, such as %2F for /")
	}
	c.host, c.port, c.user = u.Hostname(), 587, u.User.Username()
	c.password, _ = u.User.Password()
	if u.Scheme == "smtps" {
		c.security, c.port = implicitTLS, 465
	} else if ip, err := netip.ParseAddr(c.host); c.host == "localhost" || err == nil && ip.IsLoopback() {
		c.security = noTLS
	}
	if u.RawQuery == "tls=none" && u.Scheme == "smtp" {
		c.security = noTLS
	} else if u.RawQuery != "" {
		return c, errors.New("SMTP_URL has a setting that is not known: only smtp://…?tls=none is, which sends without encryption")
	}
	if port := u.Port(); port != "" {
		if c.port, err = strconv.Atoi(port); err != nil || c.port < 1 || c.port > 65535 {
			return c, errors.New("SMTP_URL has a port that is not between 1 and 65535")
		}
	}
	return c, nil
}

var errNoMailServer = errors.New("this worker has no mail server: set SMTP_URL (such as smtp://user:password@host:587) " +
	"and WARREN_MAIL_FROM, restart it, and retry the job")

// send runs Mail jobs. Cancelling the job does not interrupt the transfer of the mail: it would
// be unknown whether the mail was sent.
func (c MailConfig) send(ctx context.Context, run *jobs.Run, args Mail) error {
	if c.host == "" {
		return jobs.Permanent(errNoMailServer)
	}
	message, err := c.message(run, args)
	if err != nil {
		return jobs.Permanent(err)
	}
	client, err := c.client(heloName(os.Hostname, cmp.Or(args.From, c.from)))
	if err != nil {
		return jobs.Permanent(fmt.Errorf("prepare the mail client: %w", err))
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil { // a refused password too: a retry succeeds once the operator has corrected it
		return fmt.Errorf("connect to the mail server %s: %w", client.ServerAddr(), err)
	}
	defer func() { _ = conn.Close() }()
	err = client.SendWithSMTPClient(conn, message)
	if err != nil && !message.IsDelivered() {
		return mailFailure(err)
	}
	_ = conn.Quit() // the server has accepted the mail, even if this fails
	return run.Output(map[string]string{"message_id": message.GetMessageID(), "reply": message.ServerResponse()})
}

func (c MailConfig) message(run *jobs.Run, args Mail) (*mail.Msg, error) {
	from, err := parseAddress(cmp.Or(args.From, c.from))
	if err != nil {
		return nil, errors.New("the mail has no sender: set WARREN_MAIL_FROM, or give the job a from")
	}
	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(from)
	to, err := parseAddress(args.To)
	if err != nil {
		return nil, err
	}
	m.ToMailAddress(to)
	if args.ReplyTo != "" {
		replyTo, err := parseAddress(args.ReplyTo)
		if err != nil {
			return nil, err
		}
		m.ReplyToMailAddress(replyTo)
	}
	m.Subject(args.Subject)
	m.SetDate()
	m.SetMessageIDWithValue(run.ID.String() + "@" + domainOf(from))
	switch {
	case args.Text == "":
		m.SetBodyString(mail.TypeTextHTML, args.HTML)
	default:
		m.SetBodyString(mail.TypeTextPlain, args.Text)
		if args.HTML != "" {
			m.AddAlternativeString(mail.TypeTextHTML, args.HTML)
		}
	}
	return m, nil
}

func domainOf(a *netmail.Address) string { return a.Address[strings.LastIndexByte(a.Address, '@')+1:] }

// heloName is what the client calls itself: the host's full name or, as servers refuse a name
// without a dot, the domain of the sender.
func heloName(hostname func() (string, error), sender string) string {
	if host, err := hostname(); err == nil && strings.Contains(host, ".") {
		return host
	}
	if a, err := parseAddress(sender); err == nil {
		return domainOf(a)
	}
	return "localhost"
}

func (c MailConfig) client(helo string) (*mail.Client, error) {
	opts := []mail.Option{mail.WithHELO(helo), mail.WithPort(c.port), mail.WithTimeout(mailTimeout), mail.WithoutNoop(), mail.WithoutRset()}
	auth := mail.SMTPAuthAutoDiscover
	switch c.security {
	case startTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	case implicitTLS:
		opts = append(opts, mail.WithSSL())
	case noTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
		auth = mail.SMTPAuthPlainNoEnc
	}
	if c.tls != nil {
		opts = append(opts, mail.WithTLSConfig(c.tls))
	}
	if c.user != "" {
		opts = append(opts, mail.WithSMTPAuth(auth), mail.WithUsername(c.user), mail.WithPassword(c.password))
	}
	return mail.NewClient(c.host, opts...)
}

// aboutSession are the replies that speak of the session and not of the mail, whichever command they
// come after (RFC 5321, 7504, 4954): a command that the server does not know or expect, a host that takes no mail,
// a sign-in or an encryption that it misses.
var aboutSession = []int{500, 502, 503, 504, 521, 530, 534, 535, 538}

// mailFailure returns the error of a failed send, which is permanent if the server replied 5xx to
// this mail.
func mailFailure(err error) error {
	var refused *mail.SendError
	if !errors.As(err, &refused) {
		return fmt.Errorf("send the mail: %w", err)
	}
	if code := refused.ErrorCode(); code >= 500 && !slices.Contains(aboutSession, code) {
		return jobs.Permanent(&sendError{refused})
	}
	return &sendError{refused}
}

// sendError is the mail server's reply without the ids that would make each error different.
type sendError struct{ *mail.SendError }

func (e *sendError) Error() string {
	said, _, _ := strings.Cut(e.SendError.Error(), ", affected ")
	return "the mail server did not take the mail: " + said
}
