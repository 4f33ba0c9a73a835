package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// NewMetrics returns the handler of /metrics. The figures about jobs are read from the database at
// each scrape, so every process of a deployment reports the same.
func NewMetrics(s *store.Store) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &deployment{store: s})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{Timeout: 10 * time.Second, MaxRequestsInFlight: 2})
}

// deployment collects the metrics that are read from the database.
type deployment struct{ store *store.Store }

var (
	jobsDesc   = prometheus.NewDesc("warren_jobs", "Jobs by state; stops at 10001.", []string{"state"}, nil)
	outboxDesc = prometheus.NewDesc("warren_outbox_rows", "Rows that wait for the relay; stops at 10001.", nil, nil)
	lagDesc    = prometheus.NewDesc("warren_outbox_lag_seconds", "Age of the oldest outbox row whose queue is not paused; 0 for none.",
		nil, nil)
	workersDesc   = prometheus.NewDesc("warren_worker_processes", "Worker processes whose session is alive.", nil, nil)
	slotsDesc     = prometheus.NewDesc("warren_worker_slots", "Jobs that the live workers can run at once.", nil, nil)
	schedulesDesc = prometheus.NewDesc("warren_schedules_halted", "Schedules that cannot fire (stuck) or are paused.", []string{"why"}, nil)
	upDesc        = prometheus.NewDesc("warren_database_up", "1 when the database answered this scrape.", nil, nil)
)

// Describe implements prometheus.Collector.
func (d *deployment) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{jobsDesc, outboxDesc, lagDesc, workersDesc, slotsDesc, schedulesDesc, upDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *deployment) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	counts, err := d.store.Counts(ctx, jobs.Filter{})
	if err != nil {
		gauge(upDesc, 0)
		return
	}
	gauge(upDesc, 1)
	for state, n := range counts {
		gauge(jobsDesc, float64(n), string(state))
	}
	if out, err := d.store.Outbox(ctx); err == nil {
		gauge(outboxDesc, float64(out.Waiting))
		gauge(lagDesc, out.OldestAge.Seconds())
	}
	if stuck, paused, err := d.store.StuckSchedules(ctx); err == nil {
		gauge(schedulesDesc, float64(stuck), "stuck")
		gauge(schedulesDesc, float64(paused), "paused")
	}
	if n, slots, err := d.store.Workers(ctx); err == nil {
		gauge(workersDesc, float64(n))
		gauge(slotsDesc, float64(slots))
	}
}
