package rabbit

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// The answers are those of 3.10 for a queue whose node died while the queue was being declared.
func TestMembers_AJobQueueThatNobodyLeadsIsNamedOnceAllItsNodesRun(t *testing.T) {
	t.Parallel()
	const queues = `[
		{"name":"warren.jobs.default","type":"quorum","leader":"n1@host","members":["n1@host","n2@host"],"online":["n1@host","n2@host"]},
		{"name":"warren.jobs.down","type":"quorum","members":["n2@host","n3@host"]},
		{"name":"warren.jobs.well","type":"quorum","members":["n1@host","n2@host"],"messages":0},
		{"name":"warren.jobs.new","type":"quorum"},
		{"name":"warren.jobs.classic","type":"classic"},
		{"name":"others","type":"quorum","members":["n1@host"]}]`
	quiet := strings.ReplaceAll(queues, `,"messages":0`, "")
	for name, c := range map[string]struct {
		queues, nodes string
		names         []string
	}{
		"all of its nodes run": {queues,
			`[{"name":"n1@host","running":true},{"name":"n2@host","running":true},{"name":"n3@host","running":false}]`,
			[]string{"default"}},
		"one of its nodes is down": {queues,
			`[{"name":"n1@host","running":false},{"name":"n2@host","running":true},{"name":"n3@host","running":true}]`, []string{"down"}},
		"the account may not see it": {queues, "", nil},
		"nothing is counted anywhere": {quiet,
			`[{"name":"n1@host","running":true},{"name":"n2@host","running":true},{"name":"n3@host","running":true}]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/api/nodes":
					_, _ = io.WriteString(w, c.queues)
				case c.nodes == "":
					w.WriteHeader(http.StatusForbidden)
				default:
					_, _ = io.WriteString(w, c.nodes)
				}
			}))
			t.Cleanup(srv.Close)
			m, err := management.New(srv.URL)
			require.NoError(t, err)
			b := &Broker{URL: "amqp://localhost", Names: Names{Prefix: "warren"}}
			names, err := b.Leaderless(t.Context(), m)
			require.NoError(t, err)
			require.Equal(t, c.names, names)
		})
	}
}
