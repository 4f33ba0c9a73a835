package rabbit

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Files are the paths of PEM files for TLS. Empty means the system's certificate authorities, and
// no client certificate.
type Files struct{ CA, Cert, Key string }

// TLS returns the TLS configuration with these files, or nil if there are none and no URL is amqps.
// A file that is not set is taken from the first AMQP URL that names it (cacertfile, certfile,
// keyfile). The client certificate is read at each handshake, so that a renewed one takes effect
// without a restart; the error is a sentence that names the setting.
func TLS(rawURL string, f Files) (*tls.Config, error) {
	list, err := nodes(rawURL)
	if err != nil {
		return nil, err
	}
	if f == (Files{}) && !slices.ContainsFunc(list, func(n node) bool { return n.Scheme == "amqps" }) {
		return nil, nil
	}
	for _, n := range list {
		f = Files{CA: cmp.Or(f.CA, n.CACertFile), Cert: cmp.Or(f.Cert, n.CertFile), Key: cmp.Or(f.Key, n.KeyFile)}
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.RootCAs, err = authorities(f.CA); err != nil {
		return nil, err
	}
	if f.Cert == "" && f.Key == "" {
		return cfg, nil
	}
	if _, err := f.certificate(); err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.certificate() }
	return cfg, nil
}

// tlsFor returns the TLS configuration for one node, whose certificate may be for another name than
// its host.
func (b *Broker) tlsFor(n node) *tls.Config {
	cfg := b.TLS.Clone()
	if cfg != nil {
		cfg.ServerName = n.ServerName
	}
	return cfg
}

// authorities returns the certificate authorities in the file; nil, the system's, if file is "".
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AMQP_CA_FILE cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("AMQP_CA_FILE: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func (f Files) certificate() (*tls.Certificate, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("AMQP_CERT_FILE and AMQP_KEY_FILE belong together: set both, or none")
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("AMQP_CERT_FILE %s and AMQP_KEY_FILE %s cannot be used: %w", f.Cert, f.Key, err)
	}
	return &pair, nil
}
