package rabbit

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// unready is a sentence that says why the broker cannot be used; it is jobs.ErrUnavailable for errors.Is.
type unready struct {
	error
	mend bool // an administrator must fix it: waiting does not help
}

func (unready) Is(target error) bool { return target == jobs.ErrUnavailable }

func (u unready) Unwrap() error { return u.error }

// connectError explains why the connection failed, without the password.
func (b *Broker) connectError(uri amqp.URI, err error) error {
	if why := cmp.Or(b.whyNot(uri, err), b.whyEnded(uri, err)); why != "" {
		return unready{fmt.Errorf("%s (%w)", why, err), true}
	}
	var op *net.OpError
	if errors.As(err, &op) { // its text repeats the address
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return unready{error: fmt.Errorf("can't reach RabbitMQ at %s:%d (%w)", uri.Host, uri.Port, err)}
}

// whyNot returns a sentence about an error that an administrator can fix; "" if the broker is just
// unavailable.
func (b *Broker) whyNot(uri amqp.URI, err error) string {
	var refused *amqp.Error
	if errors.As(err, &refused) {
		return b.whyRefused(uri, refused)
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var op *net.OpError
	at := fmt.Sprintf("%s:%d", uri.Host, uri.Port)
	switch {
	case errors.As(err, &authority):
		return "the certificate of RabbitMQ at " + at +
			" is not signed by an authority that is trusted here: set AMQP_CA_FILE to the one that signed it"
	case errors.As(err, &host):
		return "the certificate of RabbitMQ at " + at +
			" is for another name: use that name in AMQP_URL, or add ?server_name_indication=NAME to it"
	case errors.As(err, &invalid):
		return "the certificate of RabbitMQ at " + at + " is not valid"
	case errors.As(err, &plain):
		return "RabbitMQ does not speak TLS at " + at + ": use its TLS port (usually 5671), or amqp:// in AMQP_URL"
	case errors.As(err, &op) && op.Op == "remote error":
		return wantsCertificate(uri)
	}
	return ""
}

// whyEnded guesses why a broker ends a TLS connection at once. With TLS 1.3 its alert comes after
// our side of the handshake, and is lost if we keep writing before it arrives.
func (b *Broker) whyEnded(uri amqp.URI, err error) string {
	ended := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, amqp.ErrClosed)
	if !ended || b.TLS == nil || b.TLS.GetClientCertificate != nil {
		return ""
	}
	return fmt.Sprintf("RabbitMQ at %s:%d ended the TLS connection at once: perhaps it wants a client certificate (AMQP_CERT_FILE, "+
		"AMQP_KEY_FILE)", uri.Host, uri.Port)
}

// remoteTLS is the prefix of errors with which the peer refuses a TLS connection.
const remoteTLS = "remote error: tls:"

func wantsCertificate(uri amqp.URI) string {
	return fmt.Sprintf("RabbitMQ at %s:%d refuses the TLS connection: it wants a client certificate of an authority that it trusts "+
		"(AMQP_CERT_FILE, AMQP_KEY_FILE)", uri.Host, uri.Port)
}

func (b *Broker) whyRefused(uri amqp.URI, err *amqp.Error) string {
	switch {
	case strings.Contains(err.Reason, remoteTLS): // with TLS 1.3 the alert comes after our side of the handshake
		return wantsCertificate(uri)
	case err.Code == amqp.AccessRefused && errors.Is(err, amqp.ErrSASL):
		return "RabbitMQ offers none of the ways to sign in that AMQP_URL allows (auth_mechanism)"
	case err.Code == amqp.AccessRefused:
		return fmt.Sprintf("RabbitMQ does not accept the user %q of AMQP_URL or its password", uri.Username)
	case err.Code == amqp.NotAllowed && strings.Contains(err.Reason, "not found"):
		return fmt.Sprintf("RabbitMQ has no virtual host %q, which AMQP_URL names; have an administrator run: rabbitmqctl add_vhost %s",
			uri.Vhost, quote(uri.Vhost))
	case err.Code == amqp.NotAllowed && strings.Contains(err.Reason, "refused for user"):
		return fmt.Sprintf("the user %q may not use the virtual host %q; have an administrator run: %s", uri.Username, uri.Vhost,
			b.permissionsCommand(uri))
	}
	return ""
}

// refusedRight returns an error that explains why the broker refuses access: a permission that the account lacks, or a
// reserved name; nil if err is no refusal.
func (b *Broker) refusedRight(err error) error {
	var e *amqp.Error
	if !errors.As(err, &e) || e == nil || e.Code != amqp.AccessRefused {
		return nil
	}
	if strings.Contains(e.Reason, "reserved prefix") {
		return fmt.Errorf("RabbitMQ keeps names that begin with \"amq.\" to itself, and has none like that (%w)", err)
	}
	list, perr := nodes(b.URL)
	if perr != nil {
		return nil
	}
	uri := list[0].URI // the account is the same at all nodes
	return fmt.Errorf("the user %q lacks a right in RabbitMQ (%w); have an administrator run: %s", uri.Username, err,
		b.permissionsCommand(uri))
}

// permissionsCommand returns the command that grants only the permissions that Warren needs: on its
// own names and the events' exchange.
func (b *Broker) permissionsCommand(uri amqp.URI) string {
	names := quote("^(" + regexp.QuoteMeta(b.Names.Prefix) + `\..*|tasks)$`)
	return fmt.Sprintf("rabbitmqctl set_permissions -p %s %s %s %s %s", quote(uri.Vhost), quote(uri.Username), names, names, names)
}

// quote quotes s as one word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
