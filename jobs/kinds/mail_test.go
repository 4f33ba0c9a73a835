package kinds

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http/httptest"
	netmail "net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
)

// mailServer accepts mail on loopback and replies as the test specifies.
type mailServer struct {
	net.Listener
	offers  string            // lines of the reply to EHLO
	answers map[string]string // replies by command, instead of OK
	tls     *tls.Config       // for STARTTLS

	mu       sync.Mutex
	said     []string
	received []string
}

func newMailServer(t *testing.T, answers map[string]string, offers ...string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startMailServer(t, l, nil, answers, offers...)
}

func startMailServer(t *testing.T, l net.Listener, starttls *tls.Config, answers map[string]string, offers ...string) *mailServer {
	t.Helper()
	s := &mailServer{tls: starttls, Listener: l, answers: answers}
	for _, o := range offers {
		s.offers += "250-" + o + "\r\n"
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(conn)
		}
	}()
	return s
}

func (s *mailServer) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say(cmp.Or(s.answers["greeting"], "220 here"))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.mu.Lock()
		s.said = append(s.said, strings.TrimSpace(line))
		s.mu.Unlock()
		command := strings.ToUpper(strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\r' })[0])
		switch answer := s.answers[command]; {
		case answer != "":
			say(answer)
		case command == "EHLO":
			say("250-here\r\n" + s.offers + "250 8BITMIME")
		case command == "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.tls)
			in = bufio.NewReader(conn)
		case command == "AUTH":
			say("235 welcome")
		case command == "DATA":
			say("354 go on")
			var mail strings.Builder
			for line := ""; line != ".\r\n"; {
				mail.WriteString(line)
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			if s.answers["."] != "" {
				say(s.answers["."])
				continue
			}
			s.mu.Lock()
			s.received = append(s.received, mail.String())
			s.mu.Unlock()
			say("250 2.0.0 kept as 4711")
		default:
			say("250 2.1.0 OK")
		}
	}
}

// config returns the MailConfig for this server.
func (s *mailServer) config(t *testing.T, user string) MailConfig {
	t.Helper()
	c, err := ParseMailConfig("smtp://"+user+s.Addr().String(), "Shop <shop@example.com>")
	require.NoError(t, err)
	return c
}

func (s *mailServer) mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

func (s *mailServer) commands() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

func post(t *testing.T, c MailConfig, args Mail) (map[string]string, error) {
	t.Helper()
	require.NoError(t, args.Validate())
	run := &jobs.Run{ID: run1, Attempt: 1}
	err := c.send(t.Context(), run, args)
	var kept map[string]string
	if raw := run.Record().Output(); raw != nil {
		require.NoError(t, json.Unmarshal(raw, &kept))
	}
	return kept, err
}

var hello = Mail{To: "Ann <ann@example.net>", Subject: "Größe", Text: "Hello\n.\nAnn", HTML: "<p>Hello</p>", ReplyTo: "help@example.com"}

func TestMail_IsSentOnceWithTheMessageIDOfItsJob(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, map[string]string{"QUIT": "421 too late"})
	kept, err := post(t, s.config(t, ""), hello)
	require.NoError(t, err, "the server had the mail before it went away")
	require.Len(t, s.mails(), 1)
	m, err := netmail.ReadMessage(strings.NewReader(s.mails()[0]))
	require.NoError(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Größe", subject)
	for name, value := range map[string]string{"From": `"Shop" <shop@example.com>`, "To": `"Ann" <ann@example.net>`,
		"Reply-To": "<help@example.com>", "Message-Id": "<" + run1.String() + "@example.com>"} {
		require.Equal(t, value, m.Header.Get(name), name)
	}
	require.NotEmpty(t, m.Header.Get("Date"))
	require.Contains(t, m.Header.Get("Content-Type"), "multipart/alternative")
	require.Regexp(t, `(?m)^EHLO \S+\.\S+$`, s.commands())
	require.Contains(t, s.commands(), "MAIL FROM:<shop@example.com>")
	require.Contains(t, s.commands(), "RCPT TO:<ann@example.net>")
	require.Equal(t, map[string]string{"message_id": "<" + run1.String() + "@example.com>", "reply": "2.0.0 kept as 4711"}, kept)

	kept, err = post(t, s.config(t, ""), Mail{To: "b@example.net", From: "other@example.org", Subject: "x", HTML: "<p>x</p>"})
	require.NoError(t, err)
	require.Equal(t, "<"+run1.String()+"@example.org>", kept["message_id"])
	require.Contains(t, s.mails()[1], "text/html")
}

func TestMail_WhatTheServerRefusesForGoodIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"MAIL", "RCPT", "DATA", "."} {
		for code, permanent := range map[string]bool{"450 4.2.1 later": false, "550 5.1.1 nobody here": true} {
			s := newMailServer(t, map[string]string{command: code})
			_, err := post(t, s.config(t, ""), hello)
			require.ErrorContains(t, err, code[4:], command)
			require.Equal(t, permanent, jobs.IsPermanent(err), "%s %s", command, err)
			require.NotContains(t, err.Error(), run1.String(), "errors of one reason read alike")
			require.Empty(t, s.mails())
		}
	}
}

// A 5xx is permanent only where it speaks of this mail: what the server says of the session will be another
// one tomorrow.
func TestMail_WhatTheServerSaysOfTheSessionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ command, answer string }{
		{"greeting", "554 no SMTP service here"}, {"greeting", "521 5.3.2 example.com accepts no mail"}, {"greeting", "421 4.3.2 closing"},
		{"greeting", "550 5.7.1 192.0.2.1 is listed"}, {"EHLO", "550 5.7.1 who?"}, {"EHLO", "504 5.5.2 <vm>: need a full name"},
		{"EHLO", "554 go away"}, {"EHLO", "421 too many connections"},
		{"MAIL", "421 4.3.0 closing"}, {"MAIL", "530 5.7.0 Authentication required"}, {"MAIL", "530 5.7.0 Must issue STARTTLS first"},
		{"MAIL", "503 5.5.1 nested MAIL"}, {"MAIL", "502 5.5.2 not implemented"}, {"MAIL", "500 5.5.1 unknown"}, {"MAIL",
			"521 5.3.2 no mail"},
		{"RCPT", "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname"}, {"RCPT", "530 5.7.1 sign in"},
		{"RCPT", "421 4.7.0 too much"}, {"DATA", "503 5.5.1 no recipients"}, {"DATA", "421 closing"}, {".", "421 4.3.2 closing"},
		{".", "451-4.7.1 greylisted\r\n451 4.7.1 later"},
	} {
		s := newMailServer(t, map[string]string{c.command: c.answer, "HELO": c.answer})
		_, err := post(t, s.config(t, ""), hello)
		require.ErrorContains(t, err, c.answer[4:10], "%s %s", c.command, c.answer)
		require.False(t, jobs.IsPermanent(err), "%s %s", c.command, c.answer)
		require.Empty(t, s.mails())
	}
	s := newMailServer(t, map[string]string{"STARTTLS": "554 5.7.0 no TLS today"}, "STARTTLS")
	c := s.config(t, "")
	c.security = startTLS
	_, err := post(t, c, hello)
	require.ErrorContains(t, err, "5.7.0 no TLS today")
	require.False(t, jobs.IsPermanent(err))
	for _, answer := range []string{"501 5.1.3 bad address", "550 5.7.1 spam", "551 not here", "552 5.3.4 too large",
		"553 5.1.8 sender", "554 5.6.0 no",
		"555 5.5.2 syntax", "556 5.1.10 takes no mail", "550-5.7.1 no\r\n550 5.7.1 never"} {
		s := newMailServer(t, map[string]string{"RCPT": answer})
		_, err := post(t, s.config(t, ""), hello)
		require.True(t, jobs.IsPermanent(err), "%s: %v", answer, err)
	}
}

func TestMail_AnotherServerOrPasswordMayHeal(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, map[string]string{"AUTH": "535 5.7.8 who?"}, "AUTH PLAIN")
	_, err := post(t, s.config(t, "ann:hunter2@"), hello)
	require.ErrorContains(t, err, "535")
	require.False(t, jobs.IsPermanent(err))
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, s.Close())
	_, err = post(t, s.config(t, ""), hello)
	require.ErrorContains(t, err, "connect to the mail server")
	require.False(t, jobs.IsPermanent(err))
}

func TestMail_TheUserSignsIn(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, nil, "AUTH PLAIN LOGIN")
	_, err := post(t, s.config(t, "ann:hunter2@"), hello)
	require.NoError(t, err)
	require.Contains(t, s.commands(), "AUTH PLAIN AGFubgBodW50ZXIy")
}

func TestMail_NoMailGoesUnencryptedToAServerElsewhere(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, nil, "AUTH PLAIN")
	c := s.config(t, "ann:hunter2@")
	c.security = startTLS // as for any host that is not loopback
	_, err := post(t, c, hello)
	require.ErrorContains(t, err, "STARTTLS")
	require.NotContains(t, s.commands(), "AUTH")
	require.Empty(t, s.mails())
}

func TestMail_AndPasswordGoEncryptedToAServerThatIsTrusted(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // lends its certificate
	t.Cleanup(web.Close)
	cert := &tls.Config{Certificates: web.TLS.Certificates}
	trust := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}
	trust.RootCAs.AddCert(web.Certificate())
	for _, security := range []mailSecurity{startTLS, implicitTLS} {
		plain, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l := plain
		if security == implicitTLS {
			l = tls.NewListener(plain, cert)
		}
		s := startMailServer(t, l, cert, nil, "STARTTLS", "AUTH PLAIN")
		c := s.config(t, "ann:hunter2@")
		c.security = security
		_, err = post(t, c, hello)
		require.ErrorContains(t, err, "certificate", "whom the system does not know")
		require.Empty(t, s.mails())
		c.tls = trust
		_, err = post(t, c, hello)
		require.NoError(t, err)
		require.Len(t, s.mails(), 1)
		require.Contains(t, s.commands(), "AUTH PLAIN")
	}
}

func TestMail_WithoutAServerAMailSaysWhatToSet(t *testing.T) {
	t.Parallel()
	_, err := post(t, MailConfig{}, hello)
	require.ErrorContains(t, err, "SMTP_URL")
	require.True(t, jobs.IsPermanent(err))
	s := newMailServer(t, nil)
	c := s.config(t, "")
	c.from = ""
	_, err = post(t, c, hello)
	require.ErrorContains(t, err, "WARREN_MAIL_FROM")
	require.True(t, jobs.IsPermanent(err))
}

func TestMail_SMTPURLSaysHowToConnect(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]MailConfig{
		"":                                {},
		"smtp://mail.example":             {host: "mail.example", port: 587, security: startTLS},
		"smtp://u:p%40@mail.example:25":   {host: "mail.example", port: 25, user: "u", password: "p@", security: startTLS},
		"smtps://u:p@mail.example/":       {host: "mail.example", port: 465, user: "u", password: "p", security: implicitTLS},
		"smtp://mail.example:25?tls=none": {host: "mail.example", port: 25, security: noTLS},
		"smtp://localhost:1025":           {host: "localhost", port: 1025, security: noTLS},
		"smtp://[::1]:1025":               {host: "::1", port: 1025, security: noTLS},
		"smtps://localhost":               {host: "localhost", port: 465, security: implicitTLS},
	} {
		got, err := ParseMailConfig(url, "")
		require.NoError(t, err, url)
		require.Equal(t, want, got, url)
	}
	for _, url := range []string{"mail.example:587", "http://mail.example", "smtp://", "smtp://u:hunter2@a b", "smtp://u:hunter2@x:99999",
		"smtp://u:hunter2@x?tls=off",
		"smtps://u:hunter2@x?tls=none", "smtp://u:hunter2@x/path"} {
		_, err := ParseMailConfig(url, "")
		require.ErrorContains(t, err, "SMTP_URL", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := ParseMailConfig("", "nobody")
	require.ErrorContains(t, err, "WARREN_MAIL_FROM")
}

func TestMail_NothingInAMailBecomesAnotherHeaderOrCommand(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, nil)
	c := s.config(t, "")
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "@", "example.com", "\r\n", "\n", "Bcc: evil@example.com", "<", ">", `"`, " ", "\x00", "ü",
			",", "\r\n.\r\n", "RCPT TO:<evil@example.com>"})
		text := rapid.Map(rapid.SliceOfN(part, 0, 6), func(p []string) string { return strings.Join(p, "") })
		address := rapid.OneOf(rapid.Just("ann@example.net"), text, rapid.Map(text, func(s string) string {
			return s +
				" <ann@example.net>"
		}))
		args := Mail{To: address.Draw(rt, "to"), ReplyTo: address.Draw(rt, "reply"), From: address.Draw(rt, "from"), Subject: text.Draw(rt,
			"subject"), Text: "x" + text.Draw(rt, "text")}
		if args.Validate() != nil {
			return
		}
		m, err := c.message(&jobs.Run{ID: run1}, args)
		if err != nil {
			return
		}
		var raw strings.Builder
		_, err = m.WriteTo(&raw)
		require.NoError(rt, err)
		read, err := netmail.ReadMessage(strings.NewReader(raw.String()))
		require.NoError(rt, err, raw.String())
		require.Empty(rt, read.Header["Bcc"], raw.String())
		to, err := m.GetRecipients()
		require.NoError(rt, err)
		require.Len(rt, to, 1)
		require.NotContains(rt, to[0], "\n")
	})
	_, err := post(t, c, Mail{To: "ann@example.net", Subject: "x", Text: "a\r\n.\r\nRCPT TO:<evil@example.com>\r\n"})
	require.NoError(t, err)
	require.Len(t, s.mails(), 1)
	require.Equal(t, 1, strings.Count(s.commands(), "RCPT"), "the text stays text")
}

func TestMail_AWrongMailIsNamedByFieldAtSubmission(t *testing.T) {
	t.Parallel()
	r, err := jobs.NewRegistry(BuiltIn(Config{})...)
	require.NoError(t, err)
	for args, fields := range map[string][]string{
		`{"to":"ann@example.com","subject":"x","text":"y"}`:                                        nil,
		`{"to":"Ann <ann@example.com>","subject":"x","html":"y","from":"b@c.de","reply_to":"d@e"}`: nil,
		`{}`:                                   {"args.to", "args.subject", "args.text"},
		`{"to":"ann","subject":"a\nb"}`:        {"args.to", "args.subject", "args.text"},
		`{"to":5,"subject":"a\nb","text":"y"}`: {"args.to", "args.subject"},
		`{"to":"a@b.de, c@d.de","subject":"x","text":"y"}`:                          {"args.to"},
		`{"to":"a@b.de\r\nBcc: c@d.de","subject":"x","text":"y"}`:                   {"args.to"},
		`{"to":"a@b.de","subject":"x","text":"y","from":"shop","reply_to":"a b c"}`: {"args.reply_to", "args.from"},
	} {
		var wrong jobs.FieldErrors
		if err := r.Check("mail", json.RawMessage(args)); err != nil {
			require.ErrorAs(t, err, &wrong)
		}
		var named []string
		for _, e := range wrong {
			named = append(named, e.Field)
		}
		require.ElementsMatch(t, fields, named, fmt.Sprint(args, wrong))
	}
}

func TestMail_ADomainWithOtherLettersGoesOverTheWireInASCII(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"ann@müller.example": "ann@xn--mller-kva.example", "Änn <a@EXAMPLE.com>": "a@EXAMPLE.com",
		"a@MÜLLER.example": "a@xn--mller-kva.example", "a@straße.example": "a@xn--strae-oqa.example",
		"a@例え.テスト":               "a@xn--r8jz45g.xn--zckzah",
		"a@mu\u0308ller.example": "a@xn--mller-kva.example", "a@mail。例え.example": "a@mail.xn--r8jz45g.example",
		"a@xn--mller-kva.example": "a@xn--mller-kva.example", "a@a_b.example": "a@a_b.example", `"a b"@c.example`: `a b@c.example`,
		"a@[192.0.2.1]": "a@[192.0.2.1]", "a@localhost": "a@localhost"} {
		a, err := parseAddress(text)
		require.NoError(t, err, text)
		require.Equal(t, want, a.Address)
	}
	for _, text := range []string{"ü@example.com", "ann", "ann@-.é", "", "<ü@müller.example>", `"ü"@example.com`, "a@ü..example",
		"a@xn--ü.example", "a@ü\u200d.example", "a@ü/b.example"} {
		require.False(t, isAddress(text), text)
	}
	m, err := (MailConfig{from: "shop@läden.example"}).message(&jobs.Run{}, Mail{To: "ann@müller.example", Subject: "s", Text: "t"})
	require.NoError(t, err)
	var raw strings.Builder
	_, err = m.WriteTo(&raw)
	require.NoError(t, err)
	require.Contains(t, raw.String(), "ann@xn--mller-kva.example")
	require.NotContains(t, raw.String(), "müller")
	s := newMailServer(t, nil) // which does not offer SMTPUTF8
	_, err = post(t, s.config(t, ""), Mail{To: "ann@müller.example", From: "shop@läden.example", Subject: "s", Text: "t"})
	require.NoError(t, err)
	require.Contains(t, s.commands(), "MAIL FROM:<shop@xn--lden-loa.example> BODY=8BITMIME\nRCPT TO:<ann@xn--mller-kva.example>")
}

// FuzzMail checks that a mail which is valid goes over the wire in ASCII, to one address, whatever is in it.
func FuzzMail(f *testing.F) {
	f.Add("Ann <ann@example.net>", "shop@läden.example", "Größe", "Hello\n.\n", "<p>")
	f.Add("\"a> b\"@müller.example", "=?utf-8?q?=0aBcc:x?= <a@b.c>", "=?utf-8?q?=0d=0aBcc:_x?=", "\r\n.\r\nQUIT\r\n", "")
	f.Add("a@[1.2.3.4]", "(c) a (d) @ b.c", " ", "\x00", "\xff")
	f.Add("ü@example.com", "a@ü.example", "x", strings.Repeat("x", 2000), "")
	f.Fuzz(func(t *testing.T, to, from, subject, text, html string) {
		args := Mail{To: to, From: from, ReplyTo: from, Subject: subject, Text: text, HTML: html}
		if args.Validate() != nil || from == "" {
			return
		}
		m, err := MailConfig{}.message(&jobs.Run{ID: run1}, args)
		require.NoError(t, err)
		sender, err := m.GetSender(false)
		require.NoError(t, err)
		list, err := m.GetRecipients()
		require.NoError(t, err)
		require.Len(t, list, 1)
		for _, address := range []string{sender, list[0]} {
			require.False(t, strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r > '~' }), "%q", address)
			require.Equal(t, 1, strings.Count(unquoted(address), ">"), "nothing follows the address: %q", address)
		}
		var raw strings.Builder
		_, err = m.WriteTo(&raw)
		require.NoError(t, err)
		read, err := netmail.ReadMessage(strings.NewReader(raw.String()))
		require.NoError(t, err, "%q", raw.String())
		require.Empty(t, read.Header["Bcc"], "%q", raw.String())
	})
}

// unquoted returns an address without the quoted strings in it.
func unquoted(address string) string {
	return regexp.MustCompile(`"(\\.|[^"\\])*"`).ReplaceAllString(address, "")
}

func TestMail_TheClientNamesItselfWithADot(t *testing.T) {
	t.Parallel()
	short := func() (string, error) { return "vm", nil }
	require.Equal(t, "mail.example.com", heloName(func() (string, error) { return "mail.example.com", nil }, "a@b.example"))
	require.Equal(t, "b.example", heloName(short, "Shop <a@b.example>"))
	require.Equal(t, "xn--mller-kva.example", heloName(short, "a@müller.example"))
	require.Equal(t, "localhost", heloName(short, ""))
}
