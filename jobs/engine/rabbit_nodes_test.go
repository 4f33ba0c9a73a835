package engine_test

import (
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
)

// beside puts an address on which nothing listens in front of the URL.
func beside(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	u.Host = l.Addr().String()
	require.NoError(t, l.Close())
	return u.String() + ", " + raw
}

func TestNodes_ADeadNodeIsPassedBy(t *testing.T) {
	b := setup(t)
	b.broker.URL = beside(t, b.vhost.URL)
	for range 8 { // each starts with either of the two
		probe := b.broker.NewProbe()
		require.NoError(t, probe.Check(b.ctx))
		probe.Close()
	}
	g := b.gate()
	close(g.open)
	b.relay()
	b.worker("w")
	b.ended(b.step(), jobs.Completed)
}

func TestNodes_WithoutAnyNodeEachIsNamedWithWhatAnAdministratorCanMendFirst(t *testing.T) {
	t.Parallel()
	nowhere := beside(t, "amqp://u:hunter2@127.0.0.1:1/jobs")
	err := (&rabbit.Broker{URL: nowhere}).NewProbe().Check(t.Context())
	require.ErrorIs(t, err, jobs.ErrUnavailable)
	require.ErrorContains(t, err, "none of its 2 nodes takes a connection")
	require.ErrorContains(t, err, "can't reach RabbitMQ at 127.0.0.1:1 (connection refused)")
	require.NotContains(t, err.Error(), "hunter2")

	u, err := url.Parse(rabbittest.New(t).URL)
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "wrong")
	err = (&rabbit.Broker{URL: beside(t, u.String())}).NewProbe().Check(t.Context())
	require.ErrorContains(t, err, "RabbitMQ does not accept the user")
}

func TestNodes_AManagementAPIThatIsAwayIsPassedByAndARefusalIsNot(t *testing.T) {
	b := setup(t)
	several := beside(t, b.vhost.ManagementURL)
	m, err := management.New(several)
	require.NoError(t, err)
	_, err = b.broker.ApplyPolicy(b.ctx, m)
	require.NoError(t, err)
	require.Contains(t, b.vhost.ManagementURL, m.Address()[len("http://"):], "the one that answers is asked first from now on")

	u, err := url.Parse(b.vhost.ManagementURL)
	require.NoError(t, err)
	u.User = url.UserPassword("nobody", "nothing")
	refusing, err := management.New(u.String() + "," + b.vhost.ManagementURL)
	require.NoError(t, err)
	_, err = refusing.Overview(b.ctx)
	var refused *management.Error
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.BadPassword())
}
