package rabbit

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// With TLS 1.3 the broker's refusal comes after our side of the handshake; a reset may discard it.
func TestRefused_AResetOfATLSConnectionWithoutClientCertificateNamesWhatMayBeMissing(t *testing.T) {
	t.Parallel()
	uri := amqp.URI{Host: "broker.example", Port: 5671}
	secure := &Broker{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	reset := &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	for _, ended := range []error{reset, io.EOF, amqp.ErrClosed} {
		require.ErrorContains(t, secure.connectError(uri, ended), "wants a client certificate")
		require.NotContains(t, (&Broker{}).connectError(uri, ended).Error(), "certificate")
	}
}

func TestRefused_ABrokerThatDoesNotAnswerIsNamedInShort(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	err := (&Broker{}).connectError(amqp.URI{Host: "127.0.0.1", Port: 5672}, dial)
	require.EqualError(t, err, "can't reach RabbitMQ at 127.0.0.1:5672 (connection refused)")
	require.ErrorIs(t, err, jobs.ErrUnavailable)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestRefused_AReservedExchangeIsNoMissingRight(t *testing.T) {
	t.Parallel()
	b := &Broker{URL: "amqp://shop:secret@127.0.0.1/"}
	reserved := &amqp.Error{Code: amqp.AccessRefused,
		Reason: "ACCESS_REFUSED - exchange name 'amq.none' contains reserved prefix 'amq.*'"}
	require.ErrorContains(t, b.refusedRight(reserved), "keeps names")
	right := &amqp.Error{Code: amqp.AccessRefused,
		Reason: "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'shop'"}
	require.ErrorContains(t, b.refusedRight(right), "lacks a right")
}
