package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// authority signs certificates for a test; its files are in dir.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key = a.newKey("ca")
	a.cert = a.sign("ca", template, template, a.key)
	return a
}

// issue writes NAME.pem and NAME.key for localhost, to serve and to sign in with.
func (a *authority) issue(name string) {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	a.sign(name, template, a.cert, a.newKey(name))
}

func (a *authority) newKey(name string) *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return key
}

func (a *authority) sign(name string, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// strict starts a RabbitMQ as another team might run it: it speaks TLS with clients that have a
// certificate, and its accounts have the rights that docs/deploy.md names, and no more.
func strict(t *testing.T, ca *authority) (amqp, manage string) {
	t.Helper()
	dir := filepath.Join(ca.dir, "data")
	ca.issue("server")
	ca.issue("client")
	amqpAt, manageAt := freePort(t), freePort(t)
	_, amqpPort, _ := net.SplitHostPort(amqpAt)
	_, managePort, _ := net.SplitHostPort(manageAt)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "rabbitmq", "conf.d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rabbitmq", "conf.d", "tls.conf"), []byte(strings.Join([]string{
		"listeners.ssl.1 = " + amqpAt,
		"ssl_options.cacertfile = " + ca.file("ca.pem"),
		"ssl_options.certfile = " + ca.file("server.pem"),
		"ssl_options.keyfile = " + ca.file("server.key"),
		"ssl_options.verify = verify_peer",
		"ssl_options.fail_if_no_peer_cert = true",
		"management.ssl.ip = 127.0.0.1",
		"management.ssl.port = " + managePort,
		"management.ssl.cacertfile = " + ca.file("ca.pem"),
		"management.ssl.certfile = " + ca.file("server.pem"),
		"management.ssl.keyfile = " + ca.file("server.key"),
		"",
	}, "\n")), 0o644))
	// The broker runs as another user when we are root.
	require.NoError(t, os.Chmod(filepath.Dir(ca.dir), 0o711))
	for _, file := range []string{"ca.pem", "server.pem", "server.key"} {
		require.NoError(t, os.Chmod(ca.file(file), 0o644))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	server, err := local.Start(ctx, local.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing to keep
		_ = server.Stop(ctx)
	})
	admin, err := management.New(server.ManagementURL())
	require.NoError(t, err)
	require.NoError(t, admin.PutVHost(ctx, "jobs"))
	require.NoError(t, admin.PutUser(ctx, "warren-jobs", "geheim", ""))
	only := `^(warren\..*|tasks)$`
	require.NoError(t, admin.PutPermissions(ctx, "jobs", "warren-jobs", only, only, only))
	require.NoError(t, admin.PutUser(ctx, "warren-watch", "geheim", "monitoring"))
	require.NoError(t, admin.PutPermissions(ctx, "jobs", "warren-watch", "^$", "^$", "^$"))
	return "amqps://warren-jobs:geheim@localhost:" + amqpPort + "/jobs", "https://warren-watch:geheim@localhost:" + managePort
}

func TestServers_BesideAStrictBrokerJobsRunAndTheOverviewHasTheCommand(t *testing.T) {
	d := deploy(t)
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	amqp, manage := strict(t, ca)
	d.env = append(d.env, "AMQP_URL="+amqp, "RABBITMQ_MANAGEMENT_URL="+manage,
		"AMQP_CA_FILE="+ca.file("ca.pem"), "AMQP_CERT_FILE="+ca.file("client.pem"), "AMQP_KEY_FILE="+ca.file("client.key"))
	d.start()
	d.ready()
	out, errs, code := d.warren("enqueue", "dots", `{"text":"x"}`, "--wait")
	require.Zero(t, code, errs)
	require.Contains(t, out, "completed")
	d.until("the overview has the command", func() bool {
		page := d.page("/")
		return strings.Contains(page, `may not set policies`) &&
			strings.Contains(page, `rabbitmqctl set_policy -p 'jobs' --priority 0 --apply-to queues 'warren-jobs' '^warren\.jobs\.'`)
	})
	d.until("the watching account shows the queue", func() bool { return strings.Contains(d.page("/queues"), "warren.jobs.default") })

	env := d.env
	for says, with := range map[string][]string{
		"set AMQP_CA_FILE":           {"AMQP_CA_FILE=" + stranger.file("ca.pem")},
		"wants a client certificate": {"AMQP_CERT_FILE=", "AMQP_KEY_FILE="},
	} {
		d.env = slices.Concat(env, with)
		p := d.start("worker")
		d.until("the worker says "+says, func() bool { return strings.Contains(p.log.String(), says) })
		p.kill()
	}
	d.env = slices.Concat(env, []string{"AMQP_CA_FILE=/nowhere"})
	_, errs, code = d.warren("worker")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "AMQP_CA_FILE cannot be read")
}

func TestServers_WithoutAManagementAPIJobsRunAndThePagesSaySo(t *testing.T) {
	d := deploy(t)
	env := d.env
	for manage, says := range map[string]string{
		"none":                        `"broker":"ok"`,
		"http://u:geheim@127.0.0.1:1": `"broker":"limited"`,
	} {
		d.env = slices.Concat(env, []string{"RABBITMQ_MANAGEMENT_URL=" + manage})
		p := d.start()
		d.ready()
		out, errs, code := d.warren("enqueue", "dots", `{"text":"x"}`, "--wait")
		require.Zero(t, code, errs)
		require.Contains(t, out, "completed")
		d.until("readyz says "+says, func() bool {
			_, raw := d.raw("GET", "/readyz", "")
			return strings.Contains(string(raw), says)
		})
		require.Contains(t, d.page("/queues"), "management API")
		require.NotContains(t, p.log.String(), "geheim")
		p.stop()
	}
}

var passwordOf = regexp.MustCompile(`^(postgres://[^:/]+):`)

func TestServers_ADatabaseThatLacksARightIsToldAtReadyzAndOnThePages(t *testing.T) {
	d := deploy(t)
	d.env = append(d.env, "DATABASE_URL="+passwordOf.ReplaceAllString(d.database, "$1:not"))
	p := d.start()
	says := "Check the user and the password of DATABASE_URL."
	d.until("readyz says it", func() bool {
		resp, err := http.Get(d.base + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		_, raw := d.raw("GET", "/readyz", "")
		return strings.Contains(string(raw), says)
	})
	status, raw := d.raw("GET", "/", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(raw), says)
	d.until("its log says it", func() bool { return strings.Contains(p.log.String(), says) })
}
