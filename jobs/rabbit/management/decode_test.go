package management

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// answering returns a client of a server that answers every request with the file.
func answering(t *testing.T, file string) *Client {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	return refusing(t, http.StatusOK, string(body))
}

func refusing(t *testing.T, status int, body string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return client(t, srv.URL)
}

func client(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(url)
	require.NoError(t, err)
	return c
}

func p(n int64) *int64 { return &n }

func TestDecode_QueuesAreReadAs310WritesThem(t *testing.T) {
	t.Parallel()
	queues, err := answering(t, "queues-3.10.8.json").Queues(t.Context())
	require.NoError(t, err)
	require.Len(t, queues, 3)

	worked := queues[0]
	require.Equal(t, "c1", worked.Name)
	require.Equal(t, "/", worked.VHost)
	require.Equal(t, "classic", worked.Type)
	require.Equal(t, "running", worked.State)
	require.Empty(t, worked.Policy, "null is no policy")
	require.Equal(t, p(5), worked.Ready)
	require.Equal(t, p(1), worked.Unacked)
	require.Equal(t, p(1), worked.Consumers)
	require.Equal(t, Counters{Publish: p(3), Deliver: p(1), Ack: p(0), Redeliver: p(1)}, worked.Counters)

	idle := queues[1]
	require.Equal(t, "idle", idle.Name)
	require.Equal(t, "quorum", idle.Type)
	require.Equal(t, "bw@localhost", idle.Leader)
	require.Equal(t, p(0), idle.Ready)
	require.Equal(t, Counters{}, idle.Counters, "a queue that nothing has happened to has no statistics: unknown, not 0")
	require.JSONEq(t, `{"x-queue-type":"quorum"}`, string(idle.Arguments))
}

func TestDecode_QueuesAreReadAs4WritesThem(t *testing.T) {
	t.Parallel()
	queues, err := answering(t, "queues-4.json").Queues(t.Context())
	require.NoError(t, err)
	require.Len(t, queues, 3)

	require.Equal(t, p(9007199254740993), queues[0].Ready, "beyond what a float holds")
	require.Equal(t, p(0), queues[0].Counters.Redeliver, "0 that was said is 0")
	require.JSONEq(t, `{"delivery-limit":50}`, string(queues[0].EffectivePolicy))

	require.Equal(t, "minority", queues[1].State)
	require.Nil(t, queues[1].Ready, `"" is unknown`)
	require.Nil(t, queues[1].Unacked)
	require.Equal(t, Counters{}, queues[1].Counters)
	require.JSONEq(t, `{}`, string(queues[1].Arguments), "[] is an empty map")
	require.JSONEq(t, `{}`, string(queues[1].EffectivePolicy))

	require.Nil(t, queues[2].Ready, "a negative depth is nonsense, hence unknown")
	require.Equal(t, p(2), queues[2].Unacked)
	require.Empty(t, queues[2].State)
	require.JSONEq(t, `{}`, string(queues[2].Arguments))
}

func TestDecode_ChannelsConsumersAndConnectionsTellWhoHoldsWhat(t *testing.T) {
	t.Parallel()
	channels, err := answering(t, "channels-3.10.8.json").Channels(t.Context(), "/")
	require.NoError(t, err)
	require.Len(t, channels, 3)
	require.Equal(t, Channel{
		VHost: "/", Name: "127.0.0.1:41764 -> 127.0.0.1:25872 (1)", Number: 1, Connection: "127.0.0.1:41764 -> 127.0.0.1:25872",
		User:     "test",
		Prefetch: p(1), GlobalPrefetch: p(0), Unacked: p(2), Consumers: p(2), Counters: Counters{Deliver: p(2), Ack: p(0), Redeliver: p(2)},
	}, channels[0])

	consumers, err := answering(t, "consumers-3.10.8.json").Consumers(t.Context(), "/")
	require.NoError(t, err)
	require.Len(t, consumers, 3)
	require.Equal(t, Consumer{
		VHost: "/", Queue: "c1", Tag: "tagA", Channel: channels[0].Name, Connection: channels[0].Connection, Prefetch: p(1),
		AckNeeded: true,
	}, consumers[0])

	connections, err := answering(t, "connections-3.10.8.json").Connections(t.Context())
	require.NoError(t, err)
	require.Equal(t, "probe@host/1", connections[0].Client)
	require.Equal(t, channels[0].Connection, connections[0].Name)

	four, err := answering(t, "channels-4.json").Channels(t.Context(), "/")
	require.NoError(t, err)
	require.Equal(t, p(7), four[0].Counters.Ack)
	require.Equal(t, Channel{VHost: "/", Name: "closing"}, four[1])
}

func TestDecode_OverviewTellsVersionAndLimits(t *testing.T) {
	t.Parallel()
	o, err := answering(t, "overview-3.10.8.json").Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, "3.10.8", o.Version)
	require.Equal(t, "bw@vm", o.Cluster)
	require.Equal(t, "basic", o.RatesMode)
	require.False(t, o.StatsDisabled)
	require.Equal(t, p(0), o.Queues)
	require.Nil(t, o.Ready)
}

func TestDecode_TagsAreReadInAllForms(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"name":"a","tags":["monitoring"]}`:             {"monitoring"},
		`{"name":"a","tags":"monitoring,policymaker"}`:   {"monitoring", "policymaker"},
		`{"name":"a","tags":"administrator management"}`: {"administrator", "management"},
		`{"name":"a","tags":""}`:                         nil,
		`{"name":"a","tags":[]}`:                         {},
	} {
		a, err := refusing(t, http.StatusOK, body).Whoami(t.Context())
		require.NoError(t, err, body)
		require.Equal(t, want, a.Tags, body)
	}
}

func TestDecode_RefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule   string
		status int
		body   string
		says   string
	}{
		{"a wrong password", 401, `{"error":"not_authorized","reason":"Login failed"}`, "does not accept the name or password"},
		{"a missing tag", 401, `{"error":"not_authorised","reason":"Not monitor user"}`, "set_user_tags"},
		{"a missing right, newer", 403, `{"error":"not_authorised","reason":"Not monitor user"}`, "set_user_tags"},
		{"bad input", 400, `{"error":"bad_request","reason":"Validation failed\n\npattern"}`,
			"400: bad_request: Validation failed pattern"},
		{"a proxy's page", 502, `<html>`, "502 Bad Gateway"},
	} {
		_, err := refusing(t, c.status, c.body).Overview(t.Context())
		var refused *Error
		require.ErrorAs(t, err, &refused, c.rule)
		require.Contains(t, err.Error(), c.says, c.rule)
	}
}
