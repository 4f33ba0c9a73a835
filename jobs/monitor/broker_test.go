package monitor_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	storetest.Stop()
	os.Exit(code)
}

// seenWithin is how long the broker's statistics and a poll may take on a busy machine.
const seenWithin = 45 * time.Second

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, seenWithin, 50*time.Millisecond, what)
}

// watch runs a monitor until the test ends or the returned stop is called.
func watch(t *testing.T, s *store.Store, managementURL string) (stop func(), topics *announced) {
	t.Helper()
	client, err := management.New(managementURL, management.WithTimeout(5*time.Second))
	require.NoError(t, err)
	topics = &announced{}
	m := &monitor.Monitor{Broker: client, Store: s, Announce: topics.add, Log: slog.New(slog.DiscardHandler),
		Interval: 200 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Lead(ctx, "monitor", m.Run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return stop, topics
}

// announced records the topics and ids that a monitor announced.
type announced struct {
	mu   sync.Mutex
	said []string
}

func (a *announced) add(topic string, ids ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, topic)
	for _, id := range ids {
		a.said = append(a.said, topic+" "+id)
	}
}

func (a *announced) has(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.said, what)
}

// client is an AMQP connection with one channel.
type client struct {
	conn *amqp.Connection
	*amqp.Channel
}

func dial(t *testing.T, url, name string) client {
	t.Helper()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	conn, err := amqp.DialConfig(url, amqp.Config{Properties: properties})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	return client{conn, ch}
}

// publish declares the queue and puts messages into it.
func (c client) publish(t *testing.T, queue string, messages int) {
	t.Helper()
	_, err := c.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	require.NoError(t, c.Confirm(false))
	for range messages {
		sent, err := c.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, true, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")})
		require.NoError(t, err)
		_, err = sent.WaitContext(t.Context())
		require.NoError(t, err)
	}
}

// take consumes with that prefetch and acknowledges nothing; it returns when the channel has its whole prefetch.
func (c client) take(t *testing.T, queue string, prefetch int) {
	t.Helper()
	require.NoError(t, c.Qos(prefetch, 0, false))
	deliveries, err := c.Consume(queue, "", false, false, false, false, nil)
	require.NoError(t, err)
	for range prefetch {
		select {
		case <-deliveries:
		case <-time.After(seenWithin):
			require.Fail(t, "no delivery")
		}
	}
}

func is(v *int64, want int64) bool { return v != nil && *v == want }

func queue(t *testing.T, s *store.Store, vhost, name string) monitor.Queue {
	t.Helper()
	q, _ := s.Queue(t.Context(), store.OwnQueues{}, vhost, name) // zero while there is no such queue
	return q
}

func TestMonitor_ReadyUnackedAndTheChannelThatHoldsThemAreSeen(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	_, topics := watch(t, s, vhost.ManagementURL)
	began := time.Now()
	dial(t, vhost.URL, "publisher@here/1").publish(t, "work", 3)
	until(t, "3 ready", func() bool { return is(queue(t, s, vhost.Name, "work").Ready, 3) })
	t.Logf("3 ready seen after %v", time.Since(began))
	require.True(t, topics.has("queues"))
	q := queue(t, s, vhost.Name, "work")
	require.Equal(t, "quorum", q.Type)
	require.Nil(t, q.EmptySince)

	began = time.Now()
	dial(t, vhost.URL, "worker@here/2").take(t, "work", 1)
	until(t, "1 unacked", func() bool { return is(queue(t, s, vhost.Name, "work").Unacked, 1) })
	t.Logf("1 unacked seen after %v", time.Since(began))
	require.True(t, is(queue(t, s, vhost.Name, "work").Ready, 2))
	var holder monitor.Channel
	until(t, "the channel is named", func() bool {
		channels, err := s.Channels(t.Context(), vhost.Name, "work")
		if err != nil || len(channels) != 1 {
			return false
		}
		holder = channels[0]
		return is(holder.Unacked, 1)
	})
	t.Logf("its channel named after %v", time.Since(began))
	require.Equal(t, "worker@here/2", holder.Client)
	require.Equal(t, 1, holder.Consumers)
	require.True(t, holder.Full(), "it holds its whole prefetch")
	require.NotNil(t, holder.HoldingSince)

	until(t, "the history has it", func() bool {
		series, err := s.Samples(t.Context(), vhost.Name, "work", time.Now().Add(-time.Minute), time.Now())
		return err == nil && slices.ContainsFunc(series.Unacked, func(v *int64) bool { return is(v, 1) })
	})
}

func TestMonitor_RedeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	watch(t, s, vhost.ManagementURL)
	dial(t, vhost.URL, "publisher").publish(t, "work", 2)
	for i := range 2 { // two workers die with both messages
		worker := dial(t, vhost.URL, "worker")
		worker.take(t, "work", 2)
		until(t, "2 unacked", func() bool { return is(queue(t, s, vhost.Name, "work").Unacked, 2) })
		// When a channel closes, RabbitMQ loses what it counted since its last statistics.
		until(t, "its redeliveries", func() bool { return i == 0 || is(queue(t, s, vhost.Name, "work").Redelivered, 2) })
		require.NoError(t, worker.conn.Close())
	}
	dial(t, vhost.URL, "worker").take(t, "work", 2)
	began := time.Now()
	until(t, "4 redelivered", func() bool { return is(queue(t, s, vhost.Name, "work").Redelivered, 4) })
	t.Logf("redeliveries seen after %v", time.Since(began))
	require.NotNil(t, queue(t, s, vhost.Name, "work").CounterSince)

	polite := dial(t, vhost.URL, "polite")
	polite.publish(t, "nacked", 1)
	d, ok, err := polite.Get("nacked", false)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, d.Nack(false, true))
	_, ok, err = polite.Get("nacked", false)
	require.NoError(t, err)
	require.True(t, ok)
	until(t, "1 redelivered", func() bool { return is(queue(t, s, vhost.Name, "nacked").Redelivered, 1) })
	until(t, "a channel that holds without consuming is named", func() bool {
		channels, err := s.Channels(t.Context(), vhost.Name, "")
		return err == nil && slices.ContainsFunc(channels, func(c monitor.Channel) bool { return c.Queue == "" && is(c.Unacked, 1) })
	})
}

func TestMonitor_AQueueThatIsDeletedIsRemoved(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	watch(t, s, vhost.ManagementURL)
	c := dial(t, vhost.URL, "c")
	c.publish(t, "short", 1)
	until(t, "it is there", func() bool { return queue(t, s, vhost.Name, "short").Name != "" })
	_, err := c.QueueDelete("short", false, false, false)
	require.NoError(t, err)
	until(t, "it is gone", func() bool { return queue(t, s, vhost.Name, "short").Name == "" })
}

// door is a proxy to the management API that can be shut and that counts requests.
type door struct {
	url  string
	shut atomic.Bool
	asks atomic.Int64
}

func newDoor(t *testing.T, managementURL string) *door {
	t.Helper()
	target, err := url.Parse(managementURL)
	require.NoError(t, err)
	d := &door{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host // the escaped path is left unchanged
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		d.asks.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	require.NoError(t, err)
	u.User = target.User
	d.url = u.String()
	return d
}

func health(t *testing.T, s *store.Store) (store.Health, monitor.Details) {
	t.Helper()
	all, err := s.Health(t.Context())
	require.NoError(t, err)
	h := all[monitor.Component]
	var details monitor.Details
	if h.Details != nil {
		require.NoError(t, json.Unmarshal(h.Details, &details))
	}
	return h, details
}

func TestMonitor_WhileTheAPIIsAwayWhatWasSeenStaysAndItIsSaid(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	way := newDoor(t, vhost.ManagementURL)
	_, topics := watch(t, s, way.url)
	dial(t, vhost.URL, "c").publish(t, "work", 1)
	until(t, "seen", func() bool { return is(queue(t, s, vhost.Name, "work").Ready, 1) })
	h, details := health(t, s)
	require.NotNil(t, h.OkAt)
	require.Nil(t, h.DownSince)
	require.Empty(t, h.Message)
	require.True(t, details.Management)
	require.NotEmpty(t, details.Version)
	require.NotEmpty(t, details.Cluster)
	require.True(t, topics.has("health broker"))

	way.shut.Store(true)
	until(t, "down", func() bool { h, _ = health(t, s); return h.DownSince != nil })
	require.Contains(t, h.Message, "The broker's management API does not answer")
	_, details = health(t, s)
	require.False(t, details.Management)
	require.NotEmpty(t, details.Version, "as last known")
	require.True(t, is(queue(t, s, vhost.Name, "work").Ready, 1), "what was seen stays")

	way.shut.Store(false)
	until(t, "well again", func() bool { h, _ = health(t, s); return h.DownSince == nil })
	require.Empty(t, h.Message)
}

func TestMonitor_AnAccountThatSeesOnlyItsOwnIsNamed(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	u, err := url.Parse(vhost.ManagementURL)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, vhost.ManagementURL+"/api/users/short-sighted",
		strings.NewReader(`{"password":"s3cret","tags":"management"}`))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	u.User = url.UserPassword("short-sighted", "s3cret")
	watch(t, s, u.String())
	until(t, "it is said", func() bool { h, _ := health(t, s); return h.OkAt != nil })
	h, _ := health(t, s)
	require.Nil(t, h.DownSince)
	require.Contains(t, h.Message, "rabbitmqctl set_user_tags short-sighted monitoring")
}

func TestMonitor_OfTwoMonitorsOnePollsAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	s, vhost := storetest.New(t), rabbittest.New(t)
	doors := []*door{newDoor(t, vhost.ManagementURL), newDoor(t, vhost.ManagementURL)}
	stops := make([]func(), 2)
	for i, d := range doors {
		stops[i], _ = watch(t, s, d.url)
	}
	until(t, "one polls", func() bool { return doors[0].asks.Load() > 10 || doors[1].asks.Load() > 10 })
	leader, other := 0, 1
	if doors[1].asks.Load() > 0 {
		leader, other = 1, 0
	}
	require.Zero(t, doors[other].asks.Load())
	stops[leader]()
	until(t, "the other polls", func() bool { return doors[other].asks.Load() > 3 })
	had, more := doors[leader].asks.Load(), doors[other].asks.Load()+10
	until(t, "the other goes on", func() bool { return doors[other].asks.Load() > more })
	require.Equal(t, had, doors[leader].asks.Load())
}

func TestMonitor_TheSumOfRedeliveriesSurvivesARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts and restarts a broker of its own")
	}
	start := func(o local.Options) *local.Server {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		o.Log = slog.New(slog.DiscardHandler)
		broker, err := local.Start(ctx, o)
		require.NoError(t, err)
		return broker
	}
	stop := func(broker *local.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = broker.Stop(ctx)
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // the broker runs as another user when we are root
	dir = filepath.Join(dir, "data")
	broker := start(local.Options{Dir: dir})
	t.Cleanup(func() { stop(broker) })
	s := storetest.New(t)
	watch(t, s, broker.ManagementURL())
	until(t, "the first poll", func() bool { h, _ := health(t, s); return h.OkAt != nil })

	dial(t, broker.URL(), "publisher").publish(t, "work", 1)
	first := dial(t, broker.URL(), "first")
	first.take(t, "work", 1)
	require.NoError(t, first.conn.Close())
	dial(t, broker.URL(), "second").take(t, "work", 1)
	until(t, "1 redelivered", func() bool { return is(queue(t, s, "/", "work").Redelivered, 1) })
	since := *queue(t, s, "/", "work").CounterSince

	ports := broker.Ports()
	stop(broker)
	broker = start(local.Options{Dir: dir, Ports: ports})
	dial(t, broker.URL(), "third").take(t, "work", 1)
	until(t, "2 redelivered", func() bool { return is(queue(t, s, "/", "work").Redelivered, 2) })
	require.True(t, since.Equal(*queue(t, s, "/", "work").CounterSince))
}

// Names, arguments and tags are bytes of anybody's choice, and a proxy may pass them on as they are.
func TestMonitor_RawBytesInOneQueueLeaveTheOthersSampled(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/api/overview": `{"rabbitmq_version":"3.10.8\xff","cluster_name":"c\xa6\u0000","rates_mode":"basic"}`,
		"/api/whoami":   `{"name":"w\xa6","tags":["monitoring"]}`,
		"/api/queues": `[{"vhost":"/","name":"a\xa6","type":"quorum","messages_ready":1,"arguments":{"x-\xa6A":"\xff"}},
			{"vhost":"/","name":"a\xa7","messages_ready":2}, {"vhost":"/","name":"b\u0000","policy":"p\u0000\xff","messages_ready":3},
			{"vhost":"v\xa6","name":"c","state":"s\xa6","type":"t\u0000","arguments":{"x":"\u0000\ud800"}},
			{"vhost":"/","name":"good","messages_ready":7,"messages_unacknowledged":2,"consumers":1}]`,
		"/api/vhosts///channels": `[{"vhost":"/","name":"ch\xa6","user":"u\xff","connection_details":{"name":"conn\xa6"},
			"messages_unacknowledged":2,"prefetch_count":2}]`,
		"/api/consumers//": `[{"queue":{"vhost":"/","name":"good"},"consumer_tag":"tag\xa6\u0000","prefetch_count":2,"ack_required":true,
			"channel_details":{"name":"ch\xa6","connection_name":"conn\xa6"}}]`,
		"/api/connections": `[{"vhost":"/","name":"conn\xa6","user_provided_name":"host\xff/1\u0000","user":"u"}]`,
	}
	bytes := strings.NewReplacer(`\xa6`, "\xa6", `\xa7`, "\xa7", `\xff`, "\xff")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			answer = "[]"
		}
		_, _ = bytes.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	s := storetest.New(t)
	watch(t, s, srv.URL)
	until(t, "the good queue is sampled", func() bool {
		q, err := s.Queue(t.Context(), store.OwnQueues{}, "/", "good")
		return err == nil && *q.Ready == 7
	})
	page, all, err := s.Queues(t.Context(), store.QueueFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, 4, all.Queues, "two names that differ in raw bytes only are one")
	require.Len(t, page.Items, 4)
	channels, err := s.Channels(t.Context(), "/", "good")
	require.NoError(t, err)
	require.Len(t, channels, 1)
	require.Equal(t, "host\uFFFD/1\uFFFD", channels[0].Client)
}
