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
	"github.com/warrenjobs/warren/web"
)

// alone is a warren without configuration: it brings its own servers.
func alone(t *testing.T) *deployment {
	t.Helper()
	d := deploy(t)
	require.NoError(t, os.Chmod(d.dir, 0o755))
	require.NoError(t, os.Chmod(d.dir+"/..", 0o755)) // PostgreSQL runs as another user when we are root
	port := strings.TrimPrefix(d.base, "http://")
	// A .env of the clone, which the servers of the tests have read, must not reach it.
	d.env = append(os.Environ(), "WARREN_LISTEN="+port, "WARREN_DATA="+d.dir+"/.warren", "DATABASE_URL=", "AMQP_URL=", "RABBITMQ_URL=", "CLOUDAMQP_URL=", "RABBITMQ_MANAGEMENT_URL=")
	return d
}

func (d *deployment) private() web.PrivateInfo {
	d.t.Helper()
	out, errs, code := d.warren("env", "--json")
	require.Zero(d.t, code, errs)
	var info web.PrivateInfo
	require.NoError(d.t, json.Unmarshal([]byte(out), &info))
	return info
}

func TestAPlainWarrenDiesWithItsServersAndTheNextHasTheData(t *testing.T) {
	d := alone(t)
	first := d.start()
	d.ready()
	_, errs, code := d.warren("enqueue", "dots", `{"text":"kept"}`, "--wait")
	require.Zero(t, code, errs)
	info := d.private()
	require.Len(t, info.Processes, 3)
	first.kill()
	for name, p := range info.Processes {
		d.until(name+" is gone", func() bool { return !p.Alive() })
	}
	_, errs, code = d.warren("jobs", "list")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "no warren runs on")

	d.start()
	d.ready()
	var list struct{ Items []jobs.Job }
	require.Equal(t, http.StatusOK, d.do("GET", "/api/v1/jobs", "", &list))
	require.Len(t, list.Items, 1)
	require.Equal(t, jobs.Completed, list.Items[0].State)
}

func TestAKillOfTheBrokerInTheMiddleLosesAndDoublesNothing(t *testing.T) {
	d := alone(t)
	d.start()
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
	d.private().Processes["rabbitmq"].Signal(syscall.SIGKILL)
	submit()
	in := func(state string) []jobs.Job { return list[jobs.Job](d, "jobs?limit=200&state="+state) }
	d.until("no job is left", func() bool { return len(in("queued"))+len(in("running"))+len(in("retrying")) == 0 })
	require.Empty(t, in("dead"))
	for _, j := range in("completed") {
		require.Equal(t, 1, j.Attempt, "job %s ran once", j.ID)
	}
	d.until("the page counts them all", func() bool { return strings.Contains(d.page("/jobs"), fmt.Sprint(half/4*4*2)) })
}
