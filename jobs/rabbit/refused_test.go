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
