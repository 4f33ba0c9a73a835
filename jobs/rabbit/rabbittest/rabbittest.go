// Package rabbittest gives each test its own virtual host on a real RabbitMQ: the one of
// WARREN_TEST_AMQP_URL and WARREN_TEST_MANAGEMENT_URL, or a private one that is started for the test
// process.
package rabbittest

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

var server struct {
	once         sync.Once
	amqp, manage string
	err          error
	stop         func()
}

// Stop stops the server that was started for this process, if any. TestMain must call it.
func Stop() {
	if server.stop != nil {
		server.stop()
	}
}

// VHost is a virtual host that lives as long as its test.
type VHost struct {
	Name          string
	URL           string
	ManagementURL string
	Management    *management.Client
}

// New creates a virtual host for the test and deletes it afterwards.
func New(tb testing.TB) VHost {
	tb.Helper()
	amqp, manage := urls(tb)
	client, err := management.New(manage)
	require.NoError(tb, err)
	u, err := url.Parse(amqp)
	require.NoError(tb, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	name := "t-" + uuid.NewString()[:13]
	require.NoError(tb, client.PutVHost(ctx, name))
	require.NoError(tb, client.PutPermissions(ctx, name, u.User.Username(), ".*", ".*", ".*"))
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_ = client.DeleteVHost(ctx, name)
	})
	u.Path = "/" + name
	return VHost{Name: name, URL: u.String(), ManagementURL: manage, Management: client}
}

func urls(tb testing.TB) (amqp, manage string) {
	tb.Helper()
	server.once.Do(func() {
		server.amqp, server.manage = os.Getenv("WARREN_TEST_AMQP_URL"), os.Getenv("WARREN_TEST_MANAGEMENT_URL")
		if server.amqp == "" {
			server.err = start()
		}
	})
	require.NoError(tb, server.err)
	return server.amqp, server.manage
}

func start() error {
	dir, err := os.MkdirTemp("", "warren-test-rabbitmq-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the server runs as another user when we are root
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := local.Start(ctx, local.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		_ = os.RemoveAll(dir)
		return err
	}
	server.amqp, server.manage = s.URL(), s.ManagementURL()
	server.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
		_ = os.RemoveAll(dir)
	}
	return nil
}
