package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/web/private"
)

// alone returns a deployment of a warren without configuration: it brings its own servers.
func alone(t *testing.T) *deployment {
	t.Helper()
	d := deploy(t)
	require.NoError(t, os.Chmod(d.dir, 0o755))
	require.NoError(t, os.Chmod(d.dir+"/..", 0o755)) // PostgreSQL runs as another user when we are root
	port := strings.TrimPrefix(d.base, "http://")
	// A .env of the clone, which the servers of the tests have read, must not reach it.
	d.env = append(os.Environ(), "WARREN_LISTEN="+port, "WARREN_DATA="+d.dir+"/.warren", "DATABASE_URL=", "AMQP_URL=", "RABBITMQ_URL=",
		"CLOUDAMQP_URL=", "RABBITMQ_MANAGEMENT_URL=")
	return d
}

func (d *deployment) private() private.Info {
	d.t.Helper()
	out, errs, code := d.warren("env", "--json")
	require.Zero(d.t, code, errs)
	var info private.Info
	require.NoError(d.t, json.Unmarshal([]byte(out), &info))
	return info
}

func TestPrivate_APlainWarrenLosesNothingWhenItsBrokerOrItselfIsKilled(t *testing.T) {
	d := alone(t)
	first := d.start()
	d.ready()
	const half = 250
	submit := func() {
		var four sync.WaitGroup
		for range 4 {
			four.Go(func() {
				for range half / 4 {
					assert.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"}}`, nil))
				}
			})
		}
		four.Wait()
	}
	submit()
	before := d.private()
	require.Len(t, before.Processes, 3)
	before.Processes["rabbitmq"].Signal(syscall.SIGKILL)
	submit()
	in := func(state string) []jobs.Job { return list[jobs.Job](d, "jobs?limit=200&state="+state) }
	d.until("no job is left", func() bool { return len(in("queued"))+len(in("running"))+len(in("retrying")) == 0 })
	require.Empty(t, in("dead"))
	for _, j := range in("completed") {
		require.Equal(t, 1, j.Attempt, "job %s ran once", j.ID)
	}
	all := fmt.Sprint(half / 4 * 4 * 2)
	d.until("the page counts them all", func() bool { return strings.Contains(d.page("/jobs"), all) })
	info := d.private()
	require.Equal(t, before.Processes["postgres"], info.Processes["postgres"])

	first.kill()
	for name, p := range info.Processes {
		d.until(name+" is gone", func() bool { return !p.Alive() })
	}
	_, errs, code := d.warren("jobs", "list")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "no Warren is running in")

	d.start()
	d.ready()
	require.Equal(t, before.Ports, d.private().Ports)
	require.Contains(t, d.page("/jobs"), all, "the next warren has the data")
}
