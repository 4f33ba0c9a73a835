package management_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	os.Exit(code)
}

const statsWithin = 30 * time.Second // the broker's statistics lag by 5 s and more

func n(v int64) *int64 { return &v }

// channel opens a channel on a new connection with the client-provided name.
func channel(t *testing.T, vhost rabbittest.VHost, name string) *amqp.Channel {
	t.Helper()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	conn, err := amqp.DialConfig(vhost.URL, amqp.Config{Properties: properties})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}

func TestBroker_TellsItsVersionAndTheAccount(t *testing.T) {
	t.Parallel()
	broker := rabbittest.New(t).Management
	overview, err := broker.Overview(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, overview.Version)
	require.NotEmpty(t, overview.Cluster)
	account, err := broker.Whoami(t.Context())
	require.NoError(t, err)
	require.True(t, account.SeesAll())
	require.True(t, account.MaySetPolicies())
}

func TestBroker_WhoHoldsWhatCanBeReadFromTheBroker(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	ch := channel(t, vhost, "tester@here/1")
	_, err := ch.QueueDeclare("work", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, ch.PublishWithContext(t.Context(), "", "work", true, false, amqp.Publishing{Body: []byte("x")}))
	}
	require.NoError(t, ch.Qos(2, 0, false))
	_, err = ch.Consume("work", "tag", false, false, false, false, nil)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		q, err := vhost.Management.Queue(t.Context(), vhost.Name, "work")
		return err == nil && q.Unacked != nil && *q.Unacked == 2 && *q.Ready == 1 && q.Counters.Deliver != nil
	}, statsWithin, 100*time.Millisecond)

	q, err := vhost.Management.Queue(t.Context(), vhost.Name, "work")
	require.NoError(t, err)
	require.Equal(t, "quorum", q.Type)
	require.Equal(t, n(3), q.Counters.Publish)
	require.Equal(t, n(2), q.Counters.Deliver)
	require.Equal(t, n(0), q.Counters.Redeliver)
	require.JSONEq(t, `{"x-queue-type":"quorum"}`, string(q.Arguments))

	var channels []management.Channel
	require.Eventually(t, func() bool {
		channels, err = vhost.Management.Channels(t.Context(), vhost.Name)
		return err == nil && len(channels) == 1 && channels[0].Unacked != nil && *channels[0].Unacked == 2
	}, statsWithin, 100*time.Millisecond)
	consumers, err := vhost.Management.Consumers(t.Context(), vhost.Name)
	require.NoError(t, err)
	require.Equal(t, []management.Consumer{{
		VHost: vhost.Name, Queue: "work", Tag: "tag", Channel: channels[0].Name, Connection: channels[0].Connection, Prefetch: n(2),
		AckNeeded: true,
	}}, consumers)
	connections, err := vhost.Management.Connections(t.Context())
	require.NoError(t, err)
	require.Contains(t, connections, management.Connection{VHost: vhost.Name, Name: channels[0].Connection, User: channels[0].User,
		Client: "tester@here/1"})
}

func TestBroker_APolicyIsInEffectOnceItIsPut(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	_, err := channel(t, vhost, "").QueueDeclare("limited", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	want := management.Policy{Pattern: "^limited$", ApplyTo: "queues", Priority: 7, Definition: json.RawMessage(`{"delivery-limit":50}`)}
	for range 2 { // idempotent
		require.NoError(t, vhost.Management.PutPolicy(t.Context(), vhost.Name, "limit", want))
	}
	policies, err := vhost.Management.Policies(t.Context(), vhost.Name)
	require.NoError(t, err)
	want.VHost, want.Name = vhost.Name, "limit"
	require.Equal(t, []management.Policy{want}, policies)
	require.Eventually(t, func() bool {
		q, err := vhost.Management.Queue(t.Context(), vhost.Name, "limited")
		return err == nil && q.Policy == "limit" && string(q.EffectivePolicy) == `{"delivery-limit":50}`
	}, statsWithin, 100*time.Millisecond)

	err = vhost.Management.PutPolicy(t.Context(), vhost.Name, "bad", management.Policy{Pattern: "(",
		Definition: json.RawMessage(`{"delivery-limit":5}`)})
	require.ErrorContains(t, err, "regular expression")
}

func TestBroker_AbsenceIsNotFound(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	_, err := vhost.Management.Queue(t.Context(), vhost.Name, "none")
	require.True(t, management.IsNotFound(err), "%v", err)
	_, err = vhost.Management.Channels(t.Context(), "no-such-vhost")
	require.True(t, management.IsNotFound(err), "%v", err)
	require.NoError(t, vhost.Management.DeleteVHost(t.Context(), "no-such-vhost"))
}

func TestBroker_AMissingTagAndAWrongPasswordAreToldApart(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	as := func(user, password string) *management.Client {
		u, err := url.Parse(vhost.ManagementURL)
		require.NoError(t, err)
		u.User = url.UserPassword(user, password)
		c, err := management.New(u.String())
		require.NoError(t, err)
		return c
	}
	var refused *management.Error
	_, err := as("nobody", "s3cret").Overview(t.Context())
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.BadPassword())
	require.NotContains(t, err.Error(), "s3cret")

	addUser(t, vhost, "untagged-"+vhost.Name, "")
	_, err = as("untagged-"+vhost.Name, "s3cret").Overview(t.Context())
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.LacksRight())

	addUser(t, vhost, "watcher-"+vhost.Name, "monitoring")
	require.NoError(t, vhost.Management.PutPermissions(t.Context(), vhost.Name, "watcher-"+vhost.Name, "", "", ""))
	watcher := as("watcher-"+vhost.Name, "s3cret")
	_, err = watcher.Queues(t.Context())
	require.NoError(t, err, "empty permissions are enough to look")
	err = watcher.PutPolicy(t.Context(), vhost.Name, "p", management.Policy{Pattern: "x",
		Definition: json.RawMessage(`{"delivery-limit":5}`)})
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.LacksRight())
}

func addUser(t *testing.T, vhost rabbittest.VHost, name, tags string) {
	t.Helper()
	request := func(method, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, vhost.ManagementURL+"/api/users/"+name, bytes.NewBufferString(body))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Less(t, resp.StatusCode, 300)
	}
	request(http.MethodPut, `{"password":"s3cret","tags":"`+tags+`"}`)
}
